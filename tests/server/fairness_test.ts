/**
 * Turns of the event loop are shared: a peer that floods keeps nobody else waiting until all of its messages are
 * handled, and loses none of them.
 */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import FakeTimers from "@sinonjs/fake-timers";
import { JsonRpc } from "@x/jsonrpc";
import type { Receiver } from "../../src/core/channel.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import { frame, frameSocket, RawSocket, TEXT } from "../helpers/raw_client.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import { block } from "../helpers/sleep.ts";
import { bareClient } from "../helpers/wire.ts";

const MANY = 1000;
const IDS = Array.from({ length: MANY }, (_, id) => id);
const CLOSE = 8;
const NOBODY: Receiver = { receive() {}, markAlive() {}, closed() {} };
// Read before a test puts a clock in its place.
const { setTimeout: later } = globalThis;

function aMoment(): Promise<void> {
  return new Promise((resolve) => void later(resolve, 5));
}

/** A server whose method `work` takes so long that a thousand calls fill many turns. */
function workServer(maxInFlight = MANY) {
  const ran: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), maxInFlight })
    .method("work", ([name]: [unknown]) => {
      block(0.1);
      ran.push(name);
      return name;
    })
    .method("ran", () => ran.length)
    .method("ping", () => "pong");
  return { rpc: rpc as unknown as JsonRpc, ran };
}

test("a peer is answered before the last of a thousand messages that another sent before", async () => {
  const { rpc } = workServer();
  const flooder = bareClient(rpc);
  const modest = bareClient(rpc);
  for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id]);
  modest.call("m", "ran");
  const { result } = await modest.next();
  assert((result as number) < MANY, `all ${result} calls ran before`);
  const answers = await flooder.some(MANY);
  assertEquals(answers.map(({ id }) => id), Array.from({ length: MANY }, (_, id) => id));
  await rpc.close();
});

test("peers whose messages wait take it by turns", async () => {
  const { rpc, ran } = workServer();
  const peers = ["a", "b", "c"].map(() => bareClient(rpc));
  for (const [index, peer] of peers.entries()) {
    for (let id = 0; id < 500; id++) peer.call(id, "work", [index]);
  }
  for (const peer of peers) await peer.some(500);
  // The last peer began long before the second had ended.
  assert(ran.indexOf(2) < ran.lastIndexOf(1) - 300, `${ran.indexOf(2)}, ${ran.lastIndexOf(1)}`);
  await rpc.close();
});

test("a peer that waits for each answer gets it in a turn or two, however many others flood", async () => {
  const { rpc, ran } = workServer();
  const flooders = Array.from({ length: 20 }, () => bareClient(rpc));
  const modest = bareClient(rpc);
  for (const flooder of flooders) {
    for (let id = 0; id < 300; id++) flooder.call(id, "work", [id]);
  }
  // Until each of them had a slice, they are as new as it is.
  await until(() => ran.length > 1500);
  const counts: number[] = [];
  for (let id = 0; id < 13; id++) {
    modest.call(id, "ran");
    counts.push((await modest.next()).result as number);
  }
  const between = counts.slice(1).map((count, index) => count - (counts[index] ?? 0));
  // A round of all who flood is 640 calls.
  assert(Math.max(...between) < 200, `calls of others before each answer: ${between}`);
  assert(ran.length < 6000);
  for (const flooder of flooders) flooder.close();
  await rpc.close();
});

test("over sockets too, a peer gets each answer in a few turns while others flood, on ./node", async () => {
  let handled = 0;
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("note", () => void handled++)
    .method("handled", () => handled);
  await using server = await serveOnNode(rpc as unknown as JsonRpc);
  const flooders = await Promise.all(Array.from({ length: 20 }, () => frameSocket(server.url)));
  const modest = await RawSocket.open(server.url);
  // Without answers: this process would have to read them, too.
  const note = frame(TEXT, JSON.stringify(call("note", undefined, ["x".repeat(50)])));
  const flood = Buffer.concat(Array(40_000).fill(note));
  for (const flooder of flooders) flooder.on("error", () => {}).resume().write(flood);
  // Until each of them was read, all of them are read in one turn.
  await until(() => handled > 20_000);
  const counts: number[] = [];
  for (let id = 0; id < 13; id++) {
    counts.push((await modest.ask(call("handled", id))).result as number);
  }
  const between = counts.slice(1).map((count, index) => count - (counts[index] ?? 0));
  assert(Math.max(...between) < 25_000, `messages of others before each answer: ${between}`);
  for (const flooder of flooders) flooder.destroy();
});

test("answers and cancels of a peer come through while another floods", async () => {
  const { rpc, ran } = workServer();
  rpc.method("ask", async (_params: unknown, { connection }) => await connection.call("name"))
    .method(
      "wait",
      (_params: unknown, { signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    );
  const flooder = bareClient(rpc);
  const modest = bareClient(rpc);
  modest.call(1, "ask");
  modest.call(2, "wait");
  const { id, method } = await modest.next();
  assertEquals(method, "name");
  for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id]);
  modest.send({ jsonrpc: "2.0", result: "Ada", id });
  modest.call(undefined, "$/cancelRequest", { id: 2 });
  const answers = await modest.some(2);
  assert(ran.length < MANY, `all ${ran.length} calls ran before`);
  assertEquals(new Set(answers.map(({ id }) => id)), new Set([1, 2]));
  await flooder.some(MANY);
  await rpc.close();
});

test("messages that wait count as memory until they are handled", async () => {
  const { rpc } = workServer();
  const flooder = bareClient(rpc);
  for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id, "x".repeat(500)]);
  const modest = bareClient(rpc);
  modest.call("m", "ping");
  await modest.next();
  const { memoryBytes } = rpc.stats();
  assert(memoryBytes > 100_000, `${memoryBytes} bytes`);
  await flooder.some(MANY);
  assertEquals(rpc.stats().memoryBytes, 0);
  await rpc.close();
});

test("messages that wait are handled by turns after their peer has left, and then it is gone", async () => {
  const { rpc, ran } = workServer();
  let ranBefore = -1;
  rpc.use({ name: "count", onClose: () => void (ranBefore = ran.length) });
  const flooder = bareClient(rpc);
  const modest = bareClient(rpc);
  for (let id = 0; id < MANY; id++) flooder.call(undefined, "work", [id]);
  flooder.close();
  await quietMoment();
  modest.call("m", "ran");
  const { result } = await modest.next();
  assert((result as number) < MANY, `all ${result} calls ran before`);
  await until(() => rpc.connections.size === 1);
  assertEquals(ran, IDS);
  assertEquals(ranBefore, MANY);
  assertEquals(rpc.stats().memoryBytes, 0);
  await rpc.close();
});

test("messages that wait are dropped once the server closes, even if their peer had left before", async () => {
  for (const leaves of [false, true]) {
    const { rpc, ran } = workServer();
    const flooder = bareClient(rpc);
    for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id]);
    if (leaves) flooder.close();
    await until(() => ran.length > 0);
    await rpc.close();
    const count = ran.length;
    assert(count < MANY, `all ${count} calls ran`);
    assertEquals(rpc.connections.size, 0);
    await quietMoment();
    assertEquals(ran.length, count);
    assertEquals(rpc.stats().memoryBytes, 0);
  }
});

test("what a carrier delivers although it was paused is handled too, in order", async () => {
  const ran: string[][] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("note", ([carrier, text]: [number, string]) => void (ran[carrier] ??= []).push(text))
    .method("block", () => block(5));
  const carriers = Array.from({ length: 5 }, () => ({ isPaused: false, receiver: NOBODY }));
  let sent = 0;
  function deliver(carrier: number, method: string, text: string): void {
    carriers[carrier]?.receiver.receive(JSON.stringify(call(method, undefined, [carrier, text])));
  }
  for (const carrier of carriers) {
    rpc.attach({
      open({ opened }) {
        carrier.receiver = opened({
          bufferedAmount: 0,
          send() {},
          close: () => carrier.receiver.closed(1000, ""),
          pause: () => carrier.isPaused = true,
          resume() {
            carrier.isPaused = false;
            // The others are to be read in later turns.
            for (const [number, { isPaused }] of carriers.entries()) {
              if (isPaused) queueMicrotask(() => deliver(number, "note", `late ${sent++}`));
            }
          },
        });
      },
    });
  }
  for (let count = 0; count < 300; count++) deliver(0, "note", `${count}`);
  deliver(0, "block", "");
  for (const number of carriers.keys()) {
    for (let count = 0; count < 300; count++) deliver(number, "note", `early ${count}`);
  }
  await until(() => sent > 0 && carriers.every(({ isPaused }) => !isPaused));
  await quietMoment();
  assertEquals(ran.flat().filter((text) => text.startsWith("late")).length, sent);
  for (const each of ran) {
    const texts = each.filter((text) => text.startsWith("early"));
    assertEquals(texts, Array.from({ length: 300 }, (_, count) => `early ${count}`));
  }
  assertEquals(rpc.stats().memoryBytes, 0);
  await rpc.close();
});

test("messages wait for no clock of a test", async () => {
  const { rpc, ran } = workServer();
  const flooder = bareClient(rpc);
  const clock = FakeTimers.install({ toFake: ["setTimeout"] });
  try {
    for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id]);
    const answered = flooder.some(MANY).then(() => true);
    for (let turn = 0; ran.length < MANY && turn < MANY; turn++) await aMoment();
    assertEquals(ran.length, MANY);
    assert(await answered);
  } finally {
    clock.uninstall();
  }
  await rpc.close();
});

test("close() with drainMs refuses calls that wait, each by its own answer", async () => {
  const { rpc, ran } = workServer();
  const flooder = bareClient(rpc);
  for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id]);
  const modest = bareClient(rpc);
  modest.call("m", "ping");
  await modest.next();
  const closed = rpc.close({ drainMs: 30_000 });
  const answers = await flooder.some(MANY);
  assertEquals(answers.map(({ id }) => id), Array.from({ length: MANY }, (_, id) => id));
  const refused = answers.filter(({ error }) => error?.code === -32009);
  assertEquals(answers.length - refused.length, ran.length);
  assert(refused.length > 0);
  await closed;
});

test("more messages than may wait are handled in order", async () => {
  const { rpc } = workServer(10);
  const flooder = bareClient(rpc);
  for (let id = 0; id < MANY; id++) flooder.call(id, "work", [id]);
  const answers = await flooder.some(MANY);
  assertEquals(answers.map(({ id }) => id), Array.from({ length: MANY }, (_, id) => id));
  await rpc.close();
});

test("a carrier that can pause delivers no more until what waits is handled", async () => {
  const { rpc } = workServer();
  const sent: number[] = [];
  const seen: string[] = [];
  let receiver: Receiver | undefined;
  rpc.attach({
    open({ opened }) {
      receiver = opened({
        bufferedAmount: 0,
        send: (message) => void sent.push(JSON.parse(String(message)).id),
        close: () => receiver?.closed(1000, ""),
        pause: () => void seen.push(`paused after ${sent.length > 0 ? "some" : "no"} answers`),
        resume: () => void seen.push(sent.length === MANY ? "resumed after all" : "resumed early"),
      });
    },
  });
  for (let id = 0; id < MANY; id++) receiver?.receive(JSON.stringify(call("work", id, [id])));
  await until(() => sent.length === MANY && seen.length > 1);
  assertEquals(sent, Array.from({ length: MANY }, (_, id) => id));
  assertEquals(seen, ["paused after some answers", "resumed after all"]);
  await rpc.close();
});

for (
  const [what, start] of Object.entries({
    "the runtime's own server": serveHere,
    "./node": serveOnNode,
  })
) {
  test(`a flood over a socket keeps nobody waiting to its end, on ${what}`, async () => {
    const { rpc, ran } = workServer();
    await using server = await start(rpc);
    const flooder = await frameSocket(server.url);
    const modest = await RawSocket.open(server.url);
    const flood = Array(MANY).fill(frame(TEXT, JSON.stringify(call("work", 1, [1]))));
    flooder.resume().write(Buffer.concat(flood));
    await until(() => ran.length > 0);
    const { result } = await modest.ask(call("ran", 1));
    assert((result as number) < MANY, `all ${result} calls ran before`);
    await until(() => ran.length === MANY);
    flooder.destroy();
  });

  for (const how of ["a close frame", "the end of its socket", "a destroyed socket"]) {
    test(`what a peer sends before ${how} is handled, on ${what}`, async () => {
      const { rpc, ran } = workServer();
      await using server = await start(rpc);
      const flooder = await frameSocket(server.url);
      flooder.on("error", () => {});
      const flood = IDS.map((id) => frame(TEXT, JSON.stringify(call("work", undefined, [id]))));
      if (how === "a close frame") flood.push(frame(CLOSE, new Uint8Array([3, 232])));
      flooder.resume().write(Buffer.concat(flood), () => {
        if (how === "the end of its socket") flooder.end();
        if (how === "a destroyed socket") flooder.destroy();
      });
      await until(() => ran.length > 0);
      await until(() => rpc.connections.size === 0);
      assertEquals(ran, IDS);
      flooder.destroy();
    });
  }
}
