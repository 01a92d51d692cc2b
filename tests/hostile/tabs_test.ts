/**
 * Tabs that post garbage to a shared worker, and a server that answers it with garbage.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { shareConnection, sharedWorker } from "@x/jsonrpc/shared_worker";
import type { Port, SharedConnection } from "@x/jsonrpc/shared_worker";
import { linkedSockets } from "@x/jsonrpc/testing";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call, failure, result } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";
import { WirePeer } from "../helpers/wire.ts";

const KEY = "@x/jsonrpc shared";
const NAMES = Object.getOwnPropertyNames(Object.prototype);

/** A shared connection, and a tab of which the test plays the port. */
function site(rpc: JsonRpc, options: { readonly maxBufferedBytes?: number } = {}) {
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const shared = shareConnection(near, { logger: silentLog(), ...options });
  return { shared, tab: new PlayedTab(shared) };
}

class PlayedTab {
  readonly posted: unknown[] = [];
  readonly #port: MessagePort;

  constructor(shared: SharedConnection) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }) => void this.posted.push(data);
    shared.attach(port2 as unknown as Port);
  }

  post(message: unknown): void {
    this.#port.postMessage(message);
  }

  signal(signal: unknown): void {
    this.post({ [KEY]: signal });
  }

  get messages(): Message[] {
    return this.posted.flatMap((each) => typeof each === "string" ? [JSON.parse(each)] : []);
  }

  async ask(method: string, id: string): Promise<Message> {
    this.post(JSON.stringify(call(method, id)));
    await until(() => this.messages.some((message) => message.id === id));
    return this.messages.find((message) => message.id === id) as Message;
  }

  close(): void {
    this.#port.close();
  }
}

function server() {
  return new JsonRpc({ logger: silentLog() }).method("ping", () => "pong").topic("news");
}

test("a tab that calls a name which every object has is answered by the server", async () => {
  const rpc = server().method("toString", () => "the server's own");
  const { shared, tab } = site(rpc);
  tab.signal({ kind: "hello" });
  for (const name of NAMES) {
    const expected = name === "toString" ? result(name, "the server's own") : failure(name, -32601);
    assertEquals(await tab.ask(name, name), expected);
  }
  tab.close();
  await shared.close();
});

test("a tab that says hello again and again is one tab, and leaves as one", async () => {
  const { shared, tab } = site(server());
  for (let count = 0; count < 10; count++) tab.signal({ kind: "hello", lock: undefined });
  await until(() => shared.tabs > 0);
  for (let count = 0; count < 10; count++) tab.signal({ kind: "hello", lock: undefined });
  assertEquals(await tab.ask("ping", "1"), result("1", "pong"));
  assertEquals(shared.tabs, 1);
  assertEquals(tab.messages.length, 1);
  tab.signal({ kind: "closed", code: 1000, reason: "" });
  await until(() => shared.tabs === 0);
  tab.close();
  await shared.close();
});

for (const read of [1e308, Infinity, NaN, -1e9, "all", null, {}, 2n]) {
  test(`a tab that claims to have read ${String(read)} is still closed if it reads nothing`, async () => {
    const rpc = server();
    const { shared, tab } = site(rpc, { maxBufferedBytes: 1000 });
    tab.signal({ kind: "hello" });
    assertEquals(await tab.ask("ping", "1"), result("1", "pong"));
    tab.signal({ kind: "pong", read });
    assertEquals(await tab.ask("ping", "2"), result("2", "pong"));
    for (const connection of rpc.connections) {
      for (let count = 0; count < 50; count++) connection.notify("note", ["x".repeat(1000)]);
    }
    await until(() => shared.tabs === 0);
    tab.close();
    await shared.close();
  });
}

test("whatever a tab posts, others are answered", async () => {
  const rpc = server();
  const { shared, tab } = site(rpc);
  const other = new PlayedTab(shared);
  for (const each of [tab, other]) each.signal({ kind: "hello" });
  assertEquals(await tab.ask("ping", "1"), result("1", "pong"));
  const garbage = [undefined, null, 0, 2n, "", "\ud800", [], {}, new Uint8Array(8), new Map(), NaN];
  for (const each of garbage) {
    tab.post(each);
    tab.signal(each);
    for (const kind of ["hello", "opened", "active", "ping", "pong", "__proto__", each]) {
      tab.signal({ kind, lock: each, read: each, code: each, reason: each });
    }
  }
  for (
    const method of ["subscribe", "unsubscribe", "rpc.stream", "rpc.credit", "$/cancelRequest"]
  ) {
    for (
      const params of [null, 1, "x", [[]], [null], { topics: null }, { token: {} }, { id: {} }]
    ) {
      const message = { jsonrpc: "2.0", method, params };
      tab.post(JSON.stringify(message));
      tab.post(JSON.stringify([{ ...message, id: 7 }, { ...message, id: 7 }]));
    }
  }
  assertEquals(await other.ask("ping", "2"), result("2", "pong"));
  tab.signal({ kind: "closed", code: {}, reason: 2n });
  await until(() => shared.tabs === 1);
  assertEquals(await other.ask("ping", "3"), result("3", "pong"));
  tab.close();
  other.close();
  await shared.close();
});

test("whatever a server answers and sends, a shared connection goes on", async () => {
  const [near, far] = linkedSockets();
  const server = new WirePeer(far);
  const shared = shareConnection(near, { logger: silentLog() });
  const worker = () => {
    const { port1, port2 } = new MessageChannel();
    shared.attach(port2 as unknown as Port);
    return { port: port1 as unknown as Port };
  };
  const client = await connect(sharedWorker(worker), { logger: silentLog() });
  const garbage = [null, 0, "", "x", [], [null], {}, { subscriptions: null }, { positions: 1 }];
  for (const each of garbage) {
    const subscribed = client.subscribe("news", () => {}).catch((error) => error);
    const { id } = await server.next();
    for (const method of ["rpc.message", "rpc.item", "rpc.removed", "rpc.progress", "news"]) {
      server.call(undefined, method, each);
      server.call(undefined, method, { topic: each, token: each, position: each, data: each });
    }
    server.send({ jsonrpc: "2.0", result: each, id });
    assert(await subscribed instanceof Error, JSON.stringify(each));
  }
  const pong = client.call("ping");
  let asked = await server.next();
  while (asked.method !== "ping") {
    server.send({ jsonrpc: "2.0", result: [], id: asked.id });
    asked = await server.next();
  }
  server.send({ jsonrpc: "2.0", result: "pong", id: asked.id });
  assertEquals(await pong, "pong");
  await client.close();
  await shared.close();
});
