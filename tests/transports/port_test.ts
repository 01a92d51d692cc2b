/**
 * JSON-RPC over message ports of each kind.
 */
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { Worker as NodeWorker } from "node:worker_threads";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import { messagePort, windowPort } from "@x/jsonrpc/port";
import type { ExtensionPort, NodePort, OtherWindow, Port, StandardPort } from "@x/jsonrpc/port";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { skipUnless } from "../helpers/needs.ts";

const workerFile = new URL("../programs/port_worker.ts", import.meta.url);

function serverOf() {
  return new JsonRpc({ logger: silentLog() })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("ask", async ([question]: [string], request) => await request.confirm(question))
    .method("leave", (_params: unknown, { connection }) => connection.close(4000, "Enough"))
    .topic("news");
}

/** Calls both ways, a batch, an event and an end that both sides notice. */
async function exercise(near: Port, far: Port): Promise<void> {
  const rpc = serverOf();
  rpc.attach(messagePort(far));
  const client = await connect<typeof rpc>(messagePort(near));
  client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(await client.call("ask", ["Sure?"]), true);
  assertEquals(await client.batch((b) => [b.call("add", [1, 1]), b.call("add", [2, 2])]), [2, 4]);
  const events: unknown[] = [];
  await client.subscribe("news", (event) => events.push(event));
  rpc.publish("news", { a: "ä" });
  await until(() => events.length === 1);
  const closed = new Promise<CloseEvent>((resolve) =>
    client.addEventListener("close", (event) => resolve(event as unknown as CloseEvent))
  );
  await assertRejects(() => client.call("leave"), RpcConnectionError, "4000: Enough");
  assertEquals((await closed).code, 4000);
  await until(() => rpc.connections.size === 0);
  await client.close();
  await rpc.close();
}

test("messagePort() carries everything over a MessageChannel", async () => {
  const { port1, port2 } = new MessageChannel();
  await exercise(port1 as unknown as Port, port2 as unknown as Port);
});

test("messagePort() tells the other end when this one closes", async () => {
  const { port1, port2 } = new MessageChannel();
  const rpc = serverOf();
  rpc.attach(messagePort(port2 as unknown as Port));
  const client = await connect(messagePort(port1 as unknown as Port));
  await client.close();
  await until(() => rpc.connections.size === 0);
  await rpc.close();
});

test("messagePort() reads only what can be JSON-RPC of what is posted", async () => {
  const { port1, port2 } = new MessageChannel();
  const rpc = serverOf();
  rpc.attach(messagePort(port2 as unknown as Port));
  for (const junk of [null, 1, undefined, {}, [], { jsonrpc: "1.0" }, [1], { type: "ready" }]) {
    port1.postMessage(junk);
  }
  const client = await connect<typeof rpc>(messagePort(port1 as unknown as Port));
  assertEquals(await client.call("add", [1, 2]), 3);
  await client.close();
  await rpc.close();
});

test("messagePort() talks to a peer that posts objects, and posts objects to it", async () => {
  const { port1, port2 } = new MessageChannel();
  const rpc = serverOf();
  rpc.attach(messagePort(port2 as unknown as Port, { post: "object" }));
  const answers: unknown[] = [];
  port1.onmessage = ({ data }) => answers.push(data);
  port1.postMessage({ jsonrpc: "2.0", method: "add", params: [1, 2], id: 1 });
  await until(() => answers.length === 1);
  assertEquals(answers, [{ jsonrpc: "2.0", result: 3, id: 1 }]);
  await rpc.close();
  port1.close();
});

/** A port as Electron's main process has them: an emitter, whose message is inside an event. */
class ElectronPort extends EventEmitter {
  other: ElectronPort | undefined;

  postMessage(message: unknown): void {
    queueMicrotask(() =>
      this.other?.emit("message", { data: structuredClone(message), ports: [] })
    );
  }

  start(): void {}

  close(): void {
    queueMicrotask(() => this.other?.emit("close"));
  }
}

test("messagePort() carries everything over Electron's ports", async () => {
  const [near, far] = [new ElectronPort(), new ElectronPort()];
  [near.other, far.other] = [far, near];
  await exercise(near as unknown as NodePort, far as unknown as NodePort);
});

/** A port as browser extensions have them. */
class Extension implements ExtensionPort {
  other: Extension | undefined;
  readonly messages: ((message: unknown) => void)[] = [];
  readonly ends: (() => void)[] = [];
  readonly onMessage = {
    addListener: (each: (message: unknown) => void) => void this.messages.push(each),
  };
  readonly onDisconnect = { addListener: (each: () => void) => void this.ends.push(each) };

  postMessage(message: unknown): void {
    const copy = JSON.parse(JSON.stringify(message));
    queueMicrotask(() => this.other?.messages.forEach((each) => each(copy)));
  }

  disconnect(): void {
    queueMicrotask(() => this.other?.ends.forEach((each) => each()));
  }
}

test("messagePort() carries everything over a browser extension's ports, and notices a disconnect", async () => {
  const linked = (): [Extension, Extension] => {
    const [near, far] = [new Extension(), new Extension()];
    [near.other, far.other] = [far, near];
    return [near, far];
  };
  await exercise(...linked());
  const [near, far] = linked();
  const rpc = serverOf();
  rpc.attach(messagePort(far));
  near.disconnect();
  await until(() => rpc.connections.size === 0);
  await rpc.close();
});

/** Two windows that post to each other, as browsers let them. */
class FakeWindow extends EventTarget {
  origin: string;

  constructor(origin: string) {
    super();
    this.origin = origin;
  }

  /** What the other window is given in place of this one. */
  seenBy(other: FakeWindow): OtherWindow {
    return this.#proxies.get(other) ?? this.#proxy(other);
  }

  readonly #proxies = new Map<FakeWindow, OtherWindow>();

  #proxy(other: FakeWindow): OtherWindow {
    const proxy: OtherWindow = {
      postMessage: (data, targetOrigin) => {
        if (targetOrigin !== this.origin) return;
        const event = { data, origin: other.origin, source: other.seenBy(this) };
        queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("message"), event)));
      },
    };
    this.#proxies.set(other, proxy);
    return proxy;
  }
}

test("windowPort() reads messages of the other window and its origin alone", async () => {
  const [page, frame, stranger] = [
    "https://page.example",
    "https://frame.example",
    "https://evil.example",
  ]
    .map((origin) => new FakeWindow(origin)) as [FakeWindow, FakeWindow, FakeWindow];
  const self = (window: FakeWindow) => window as unknown as StandardPort;
  const rpc = serverOf();
  rpc.attach(windowPort(frame.seenBy(page), { origin: frame.origin, self: self(page) }));
  const message = '{"jsonrpc":"2.0","method":"leave"}';
  page.seenBy(stranger).postMessage(message, page.origin);
  const client = await connect<typeof rpc>(
    windowPort(page.seenBy(frame), { origin: page.origin, self: self(frame) }),
  );
  assertEquals(await client.call("add", [1, 2]), 3);
  // The frame has navigated elsewhere: the window is the same, its origin is not.
  frame.origin = "https://elsewhere.example";
  page.seenBy(frame).postMessage(message, page.origin);
  await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(rpc.connections.size, 1);
  await client.close();
  await rpc.close();
});

test("windowPort() takes no origin that would talk to every page", () => {
  const other: OtherWindow = { postMessage() {} };
  for (const origin of ["*", "", "app.example", "https://app.example/", undefined]) {
    assertThrows(
      () => windowPort(other, { origin } as { origin: string }),
      TypeError,
      "Expected `origin`",
    );
  }
});

async function withWorker(worker: Port, end: () => void): Promise<void> {
  const client = await connect(messagePort(worker), { logger: silentLog() });
  client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(await client.call("ask", ["Sure?"]), true);
  await assertRejects(() => client.call("leave"), RpcConnectionError, "4000: Enough");
  await client.close();
  end();
}

const hasWorker = skipUnless(typeof Worker === "function", "this runtime has no global Worker");

test("messagePort() carries calls both ways to a Worker", hasWorker, async () => {
  const worker = new Worker(workerFile, { type: "module" });
  await withWorker(worker, () => worker.terminate());
});

test("messagePort() carries calls both ways to a Worker of node:worker_threads", async () => {
  const worker = new NodeWorker(workerFile);
  await withWorker(worker, () => void worker.terminate());
});

test("messagePort() notices that a Worker of node:worker_threads has ended", async () => {
  const worker = new NodeWorker(workerFile);
  const client = await connect(messagePort(worker), { logger: silentLog() });
  const error = await assertRejects(() => client.call("exit"), RpcConnectionError);
  assertMatch(error.message, /The worker ended with code|The port was closed/);
  await client.close();
});
