/**
 * Hibernating connections without workerd: the object's state is played by the test.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { hibernate } from "@x/jsonrpc/workers";
import type { HibernatingSocket, ObjectState } from "@x/jsonrpc/workers";
import { quietMoment } from "../helpers/deferred.ts";
import { heldMemory } from "../helpers/held_memory.ts";
import { silentLog } from "../helpers/log.ts";
import { call, namesOf } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";

/** A socket that was open while the object was out of memory. */
class PlayedSocket implements HibernatingSocket {
  attachment: unknown = {
    version: 1,
    id: "1",
    url: "https://example.com/",
    headers: [],
    user: null,
    state: {},
    topics: [],
    recovering: [],
  };
  answer: Message | undefined;
  writes = 0;
  maxBytes = Infinity;

  send(text: string): void {
    this.answer = JSON.parse(text);
  }

  close(): void {}

  serializeAttachment(value: unknown): void {
    const copy = structuredClone(value);
    if (JSON.stringify(copy).length > this.maxBytes) {
      throw new Error("serializeAttachment: too big");
    }
    this.attachment = copy;
    this.writes++;
  }

  deserializeAttachment(): unknown {
    return this.attachment;
  }
}

test("a hibernating connection keeps no names of topics that its client has given up", async () => {
  const socket = new PlayedSocket();
  let restored = Promise.resolve();
  const state = {
    getWebSockets: () => [socket],
    blockConcurrencyWhile: (run: () => Promise<void>) => restored = run(),
  } as unknown as ObjectState;
  const rpc = new JsonRpc({ logger: silentLog() }).topic("room.*");
  const object = hibernate(rpc, state);
  await restored;
  let before = 0;
  for (let round = 0; round < 120; round++) {
    if (round === 20) before = heldMemory();
    const topics = namesOf(1000, `room.${round}`);
    await object.webSocketMessage(
      socket,
      JSON.stringify(call("subscribe", 1, { topics, recover: true })),
    );
    assertEquals((socket.answer?.result as { subscriptions: unknown }).subscriptions, topics);
    await object.webSocketMessage(socket, JSON.stringify(call("unsubscribe", 2, topics)));
    assertEquals(socket.answer?.result, []);
    await quietMoment();
  }
  const growth = heldMemory() - before;
  // The names alone have 25 MB.
  assert(growth < 12, `grew by ${growth.toFixed(0)} MiB`);
  await rpc.close({ drainMs: 0 });
});

/** A server with one hibernated socket. `put` is what its storage does. */
async function restoredServer(rpc: JsonRpc, put = () => Promise.resolve()) {
  const socket = new PlayedSocket();
  socket.maxBytes = 16_384; // as the platform
  let [restored, puts] = [Promise.resolve(), 0];
  const state = {
    getWebSockets: () => [socket],
    blockConcurrencyWhile: (run: () => Promise<void>) => restored = run(),
    storage: { put: () => (puts++, put()), delete: () => Promise.resolve(true) },
  } as unknown as ObjectState;
  const object = hibernate(rpc, state);
  await restored;
  async function ask(method: string, params?: unknown): Promise<Message | undefined> {
    await object.webSocketMessage(socket, JSON.stringify(call(method, 1, params as never)));
    await quietMoment();
    return socket.answer;
  }
  return { socket, ask, puts: () => puts };
}

test("a hibernating connection is stored only when something about it has changed", async () => {
  const seen = new Map<string, number>();
  const rpc = new JsonRpc({ logger: silentLog() }).topic("news").topic("other")
    .method("set", ([value]: [unknown], { connection }) => {
      connection.state.value = value;
    })
    .method("visit", ([name]: [string], { connection }) => {
      connection.state.seen = seen.set(name, (seen.get(name) ?? 0) + 1);
    }) as unknown as JsonRpc;
  const { socket, ask } = await restoredServer(rpc);
  await ask("subscribe", ["news"]);
  const first = socket.writes;
  assertEquals((socket.attachment as { topics: unknown }).topics, ["news"]);
  for (let round = 0; round < 20; round++) await ask("subscribe", ["news"]);
  await ask("unsubscribe", ["missing"]);
  assertEquals(socket.writes, first);
  await ask("subscribe", { topics: ["news"], recover: true });
  assertEquals((socket.attachment as { recovering: unknown }).recovering, ["news"]);
  await ask("unsubscribe", ["news"]);
  assertEquals((socket.attachment as { recovering: unknown }).recovering, []);
  const state = () => (socket.attachment as { state: { value?: unknown; seen?: unknown } }).state;
  // JSON has one text for some of these.
  for (const value of [1, null, 0, "", [], {}, { a: 1 }, { a: 1, b: [] }]) {
    await ask("set", [value]);
    assertEquals(state().value, value);
    const { writes } = socket;
    await ask("set", [value]);
    assertEquals(socket.writes, writes);
  }
  // A Map has no text that shows what is in it: it is written each time.
  for (const name of ["ada", "bob"]) {
    await ask("visit", [name]);
    assertEquals(state().seen, seen);
  }
  await rpc.close({ drainMs: 0 });
});

test("a connection that is too long for its socket goes to the storage, and the log says if that fails", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .method("fill", (_params, { connection }) => {
      connection.state.text = "x".repeat(20_000);
    })
    .method("grow", (_params, { connection }) => {
      connection.state.text += "x";
    })
    .method("empty", (_params, { connection }) => {
      connection.state.text = "";
    }) as unknown as JsonRpc;
  let fails = false;
  const { socket, ask, puts } = await restoredServer(
    rpc,
    () => fails ? Promise.reject(new Error("a value is at most 128 KiB")) : Promise.resolve(),
  );
  for (let round = 0; round < 3; round++) await ask("fill");
  assertEquals([puts(), socket.attachment], [1, { version: 1, key: "@x/jsonrpc:1" }]);
  fails = true;
  await ask("grow");
  assertEquals([puts(), socket.attachment], [2, null]);
  const [text = ""] = logger.lines.map(String).filter((line) => line.includes("over 16 KiB"));
  assertStringIncludes(text, "a value is at most 128 KiB");
  // What can be stored again is stored again.
  await ask("empty");
  assertEquals((socket.attachment as { state: unknown }).state, { text: "" });
  await rpc.close({ drainMs: 0 });
});
