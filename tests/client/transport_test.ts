/**
 * Transports that a program brings: the same one carries both ends here, over a MessageChannel.
 */
import { test } from "node:test";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { connect, JsonRpc, JsonRpcClient, RpcConnectionError, RpcError } from "@x/jsonrpc";
import type { Transport } from "@x/jsonrpc";
import type { Receiver } from "@x/jsonrpc/client";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { eventsOf } from "../helpers/scripted_server.ts";

/** A message port as a transport, written from the documentation of `Transport` alone. */
function portTransport(port: MessagePort): Transport {
  return {
    name: "the port",
    open({ opened }) {
      let isOpen = true;
      const receiver = opened({
        bufferedAmount: 0,
        send: (message) => port.postMessage({ text: String(message) }),
        close(code, reason) {
          port.postMessage({ code, reason });
          queueMicrotask(() => end(code, reason));
        },
      });
      function end(code: number, reason: string): void {
        if (!isOpen) return;
        isOpen = false;
        port.close();
        receiver.closed(code, reason);
      }
      port.onmessage = ({ data }) => {
        if (data.text === undefined) end(data.code, data.reason);
        else receiver.receive(data.text);
      };
    },
  };
}

/** A transport of a client that makes a new pair of ports for each connection. */
function portsTo(rpc: Pick<JsonRpc, "attach">): Transport & { opened: number } {
  return {
    name: "the server in this process",
    canReconnect: true,
    opened: 0,
    async open(context) {
      await quietMoment();
      this.opened++;
      const { port1, port2 } = new MessageChannel();
      rpc.attach(portTransport(port1));
      await portTransport(port2).open(context);
    },
  };
}

/** A request and its answer, as another carrier than HTTP has them. */
function exchanging(answer: (text: string, signal: AbortSignal) => Promise<string>): Transport {
  return {
    name: "the worker",
    canReconnect: true,
    isConnectionless: true,
    open({ opened }) {
      const underWay = new Map<number | undefined, AbortController>();
      const receiver: Receiver = opened({
        bufferedAmount: 0,
        send(message, ids = []) {
          const controller = new AbortController();
          underWay.set(ids[0], controller);
          answer(String(message), controller.signal).then(
            (text) => receiver.exchanged?.(ids, text),
            (error) => receiver.exchanged?.(ids, error),
          );
        },
        cancel: (id) => underWay.get(id)?.abort(new Error("cancelled")),
        close: (code, reason) => queueMicrotask(() => receiver.closed(code, reason)),
      });
    },
  };
}

function testServer() {
  return new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("ask", (_params: undefined, request) => request.call<string>("name"))
    .topic("clock", { retain: true });
}

test("a transport of the program's own carries calls of both ends, topics and the end", async () => {
  const rpc = testServer();
  const { port1, port2 } = new MessageChannel();
  rpc.attach(portTransport(port1), { user: "ada" });
  const client = await connect(portTransport(port2));
  const events = eventsOf(client);
  client.method("name", () => "client");
  const received: unknown[] = [];
  await client.subscribe("clock", (time) => received.push(time));
  rpc.publish("clock", "12:00");
  assertEquals([await client.call("ping"), await client.call("ask")], ["pong", "client"]);
  assertEquals([...rpc.connections].map(({ user }) => user), ["ada"]);
  await until(() => received.length > 0);
  await rpc.close();
  await until(() => client.state === "closed");
  assertEquals([received, events], [["12:00"], ["close 1001 The server is closing final"]]);
});

test("a transport that can reconnect is opened again, and topics are subscribed to again", async () => {
  const rpc = testServer();
  const transport = portsTo(rpc);
  await using client = await connect(transport, { reconnect: { minMs: 0, maxMs: 0 } });
  const events = eventsOf(client);
  const received: unknown[] = [];
  await client.subscribe("clock", (time) => received.push(time));
  for (const connection of rpc.connections) connection.close(1012, "Restart");
  assertEquals(await client.call("ping", undefined, { idempotent: true }), "pong");
  await until(() => events.includes("resubscribed clock"));
  rpc.publish("clock", "12:00");
  await until(() => received.length > 0);
  assertEquals([received, transport.opened], [["12:00"], 2]);
});

test("a transport that throws, rejects or refuses fails the attempt to connect, with its name", async () => {
  const opens: readonly Transport["open"][] = [
    () => {
      throw new Error("no cable");
    },
    () => Promise.reject(new Error("no cable")),
    ({ refused }) => refused(1006, "no cable"),
  ];
  for (const open of opens) {
    const client = new JsonRpcClient({ name: "the lab", open });
    const error = await assertRejects(() => client.call("ping"), RpcConnectionError, "no cable");
    assertStringIncludes(error.message, "Cannot connect to the lab");
    assertEquals([error.outcome, client.state], ["unsent", "closed"]);
  }
});

test("a transport is told when its attempt is given up", async () => {
  const signals: AbortSignal[] = [];
  const silent: Transport = { open: ({ signal }) => void signals.push(signal) };
  const attempt = assertRejects(
    () => connect(silent, { connectMs: 1 }),
    RpcConnectionError,
    "within 1 ms",
  );
  // The client's own timer would not keep this process alive.
  await until(() => signals[0]?.aborted === true);
  await attempt;
  const client = new JsonRpcClient(silent);
  client.connect().catch(() => {});
  await client.close();
  assertEquals(signals.map(({ aborted }) => aborted), [true, true]);
});

test("a transport that opens after its attempt was given up is closed", async () => {
  const closed: number[] = [];
  const late = Promise.withResolvers<void>();
  const transport: Transport = {
    async open({ opened }) {
      await late.promise;
      opened({ bufferedAmount: 0, send() {}, close: (code) => void closed.push(code) });
    },
  };
  const attempt = connect(transport, { connectMs: 1 }).catch(() => "given up");
  let outcome: unknown;
  attempt.then((value) => outcome = value);
  await until(() => outcome === "given up");
  late.resolve();
  await quietMoment();
  assertEquals(closed, [1000]);
});

test("attach() of a transport that fails gives its place back", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ maxConnections: 1, logger });
  assertThrows(
    () =>
      rpc.attach({
        open() {
          throw new Error("no cable");
        },
      }),
    Error,
    "no cable",
  );
  rpc.attach({ name: "the lab", open: () => Promise.reject(new Error("no cable")) });
  await until(() => logger.text.includes("Attaching the lab failed"));
  rpc.attach({ open: ({ refused }) => refused(1006, "") });
  const signals: AbortSignal[] = [];
  rpc.attach({ open: ({ signal }) => void signals.push(signal) });
  assertThrows(() => rpc.attach({ open() {} }), TypeError, "maxConnections");
  await rpc.close();
  assertEquals(signals.map(({ aborted }) => aborted), [true]);
  assertThrows(() => rpc.attach({ open() {} }), TypeError, "the server is closed");
});

test("attach() refuses a transport that is connectionless", () => {
  const transport = exchanging(() => Promise.resolve(""));
  assertThrows(() => new JsonRpc().attach(transport), TypeError, "only a client can use it");
});

test("a connectionless transport answers calls, batches and notifications", async () => {
  const rpc = testServer();
  const texts: string[] = [];
  const transport = exchanging(async (body) => {
    texts.push(body);
    const headers = { "content-type": "application/json" };
    const request = new Request("http://any/", { method: "POST", headers, body });
    return await (await rpc.fetch(request)).text();
  });
  await using client = await connect(transport, { heartbeatMs: 1, prepare: () => false });
  assertEquals(await client.call("ping"), "pong");
  assertEquals(await client.batch((b) => [b.call("ping"), b.call("ping")]), ["pong", "pong"]);
  client.notify("ping");
  await assertRejects(() => client.call("nowhere"), RpcError, "Method not found");
  assertEquals(texts.length, 4);
});

test("a connectionless transport is told which call was cancelled, and may fail one alone", async () => {
  let aborted: AbortSignal | undefined;
  const transport = exchanging((text, signal) => {
    if (text.includes("fail")) return Promise.reject(new Error("worker died"));
    aborted = signal;
    return new Promise(() => {});
  });
  await using client = await connect(transport);
  const controller = new AbortController();
  const waiting = client.call("wait", undefined, { signal: controller.signal });
  const failed = await assertRejects(() => client.call("fail"), RpcConnectionError, "worker died");
  assertEquals(failed.outcome, "unknown");
  controller.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  assertEquals(aborted?.aborted, true);
});
