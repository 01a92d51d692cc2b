/**
 * What a client holds against its server, and what not: silence, late timers, unread texts.
 */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { connect, JsonRpc, JsonRpcClient } from "@x/jsonrpc";
import type { Transport } from "@x/jsonrpc";
import type { Channel } from "@x/jsonrpc/client";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { skipUnless } from "../helpers/needs.ts";
import { eventsOf, scripted } from "../helpers/scripted_server.ts";
import { serveHere } from "../helpers/server.ts";
import { block } from "../helpers/sleep.ts";

const dispatches = skipUnless(
  typeof globalThis.dispatchEvent === "function",
  "this runtime has no global events",
);

for (const type of ["online", "pageshow"]) {
  test(
    `a socket that looks open and says nothing is replaced after "${type}"`,
    dispatches,
    async () => {
      const { client, events, wire } = scripted();
      await client.connect();
      const first = await wire(0);
      globalThis.dispatchEvent(new Event(type));
      globalThis.dispatchEvent(new Event(type));
      assertEquals((await first.next()).method, "rpc.ping");
      await wire(1);
      await until(() => client.state === "open");
      assertEquals(events.slice(0, 2), ["open", "close 1006 No answer to a ping within 2000 ms"]);
      assertEquals(first.received.length, 1);
      await client.close();
    },
  );

  test(`a socket that answers is kept after "${type}"`, dispatches, async () => {
    const rpc = new JsonRpc();
    await using server = await serveHere(rpc);
    await using client = await connect(server.ws);
    const events = eventsOf(client);
    globalThis.dispatchEvent(new Event(type));
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assertEquals([client.state, events], ["open", []]);
  });
}

test("a client whose process was blocked drops no connection that answers", async () => {
  const rpc = new JsonRpc();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, { heartbeatMs: 300 });
  const events = eventsOf(client);
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 250 + 30 * round));
    block(900);
  }
  await client.call("get_methods");
  await new Promise((resolve) => setTimeout(resolve, 500));
  assertEquals([client.state, events], ["open", []]);
});

test("a call whose answer arrived while the process was blocked does not time out", async () => {
  // The answer comes from another process' worth of buffers: a socket of the system.
  const rpc = new JsonRpc().method("ping", () => "pong");
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const call = client.call("ping", undefined, { timeoutMs: 100 });
  block(400);
  assertEquals(await call, "pong");
});

test("a burst of large calls is sent as the network takes it, and closes nothing", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("size", ([text]: [string]) => text.length);
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, { logger: silentLog() });
  const events = eventsOf(client);
  const text = "x".repeat(900_000);
  const calls = Array.from({ length: 8 }, () => client.call("size", [text]));
  assertEquals(await Promise.all(calls), Array(8).fill(900_000));
  assertEquals(events, []);
});

/** A transport whose network takes only what the test lets it take. */
function slowTransport() {
  const state = { buffered: 0, sent: [] as string[], closed: [] as number[] };
  const transport: Transport = {
    open({ opened }) {
      const channel: Channel = {
        get bufferedAmount() {
          return state.buffered;
        },
        send(message) {
          state.buffered += String(message).length;
          state.sent.push(JSON.parse(String(message)).params[0]);
        },
        close(code, reason) {
          state.closed.push(code);
          queueMicrotask(() => receiver.closed(code, reason));
        },
      };
      const receiver = opened(channel);
    },
  };
  return { state, transport };
}

test("messages wait while much is unread, keep their order, and go on as it falls", async () => {
  const { state, transport } = slowTransport();
  const logger = silentLog();
  const client = new JsonRpcClient(transport, { maxBufferedBytes: 400, logger });
  await client.connect();
  for (let n = 0; n < 10; n++) client.notify("note", [n, "x".repeat(20)]);
  assertEquals(state.sent, [0, 1]);
  state.buffered = 0;
  await until(() => state.sent.length === 4);
  client.notify("note", [10]);
  assertEquals(state.sent, [0, 1, 2, 3]);
  await until(() => (state.buffered = 0, state.sent.length === 11));
  assertEquals([state.sent, state.closed], [[...Array(11).keys()], []] as never);
  await client.close();
});

test("messages that wait for the network are bounded by maxQueued, and can be cancelled", async () => {
  const { state, transport } = slowTransport();
  const client = new JsonRpcClient(transport, { maxBufferedBytes: 4, maxQueued: 2 });
  await client.connect();
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [0, 1, 2, 3].map((n) =>
    client.call("note", [n], n === 1 ? { signal } : {}).catch((error) => error.message)
  );
  assertEquals(await calls[3], "Cannot send: 2 messages wait (maxQueued)");
  controller.abort(new Error("enough"));
  assertEquals(await calls[1], "enough");
  state.buffered = 0;
  await until(() => state.sent.length === 2);
  assertEquals(state.sent, [0, 2] as never);
  await client.close();
  await Promise.all(calls);
});

test("a connection that was closed with 1013 is not asked for the same again", async () => {
  for (const [reason, wanted] of [["Slow", "unknown"], ["retry-after=1", "sent again"]] as const) {
    const { client, wire } = scripted();
    await client.connect();
    const call = client.call("big", undefined, { idempotent: true })
      .then(() => "sent again", ({ outcome }) => outcome);
    const first = await wire(0);
    await first.next();
    first.close(1013, reason);
    if (wanted === "sent again") {
      const second = await wire(1);
      const { id } = await second.next();
      second.send({ jsonrpc: "2.0", result: 1, id });
    }
    assertEquals(await call, wanted);
    await client.close();
  }
});

test("a queued message does not expire for the time in which this process was blocked", async () => {
  const script = scripted({ maxQueuedMs: 1500, reconnect: { minMs: 0, maxMs: 0, first: true } });
  script.refuse = 1e9;
  const call = script.client.call("ping").then(() => "sent", ({ message }) => message);
  let outcome: string | undefined;
  call.then((value) => outcome = value);
  await quietMoment();
  block(2600);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(outcome, undefined);
  await script.client.close();
  assert((await call).includes("the client was closed"), await call);
});
