/**
 * Frames at random, against both ends over linked sockets and against a server of each runtime: nothing
 * throws, each call with an id is answered exactly once, notifications and answers never, and the connection
 * lives on.
 */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { after, test } from "node:test";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { assertAlive, RawSocket } from "../helpers/raw_client.ts";
import { anyFrame, idsToAnswer } from "../helpers/random_frames.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { bareClient, bareServer } from "../helpers/wire.ts";
import type { WirePeer } from "../helpers/wire.ts";
import { checked } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";
import { targets } from "../helpers/targets.ts";
import { needs } from "../helpers/needs.ts";

const HANDLERS: Readonly<Record<string, (params: unknown) => unknown>> = {
  ping: () => "pong",
  echo: (params) => params,
  later: async (params) => (await quietMoment(), params),
  fail: () => {
    throw new RpcError(1, "no");
  },
  failLater: async () => Promise.reject(await quietMoment()),
};

/** The ids of answers that came, as JSON. Fails where one is no answer to the letter. */
function idsOf(answers: readonly unknown[]): string[] {
  return answers.flatMap((answer) => checked(answer) as Message | Message[])
    .map(({ id }) => JSON.stringify(id));
}

function assertAnswered(answers: readonly unknown[], frames: readonly string[]): void {
  assertEquals(idsOf(answers).sort(), frames.flatMap(idsToAnswer).sort());
}

// -- over linked sockets --

const frames = fc.array(anyFrame, { maxLength: 15 });

/** Says all of it, and gives what came back when nothing more can come. */
async function talk(wire: WirePeer, said: readonly string[]): Promise<unknown[]> {
  for (const frame of said) wire.send(frame);
  const due = said.flatMap(idsToAnswer).length;
  const answers = () => wire.received.map((text) => JSON.parse(text));
  // A server that is busy handles frames in later turns.
  await until(() => idsOf(answers()).length >= due);
  // `later` and `failLater` take one such moment, and answers travel by microtasks.
  for (let turn = 0; turn < 3; turn++) await quietMoment();
  const received = answers();
  wire.received.length = 0;
  return received;
}

test("JsonRpc answers each call of any frames once, and nothing else", async () => {
  const log = silentLog();
  const rpc = new JsonRpc({ logger: log }).topic("news");
  for (const [name, handler] of Object.entries(HANDLERS)) rpc.method(name, handler);
  const wire = bareClient(rpc);
  await fc.assert(
    fc.asyncProperty(frames, async (said) => assertAnswered(await talk(wire, said), said)),
    { numRuns: 200 },
  );
  assertEquals(rpc.connections.size, 1);
  wire.close();
});

test("JsonRpcClient answers each call of any frames once, and nothing else", async () => {
  const [client, wire] = await bareServer({ logger: silentLog() });
  for (const [name, handler] of Object.entries(HANDLERS)) client.method(name, handler);
  await fc.assert(
    fc.asyncProperty(frames, async (said) => assertAnswered(await talk(wire, said), said)),
    { numRuns: 200 },
  );
  assertEquals(client.state, "open");
  await client.close();
});

test("JsonRpcClient gives each of its calls its own answer, whatever frames come between", async () => {
  await fc.assert(fc.asyncProperty(frames, async (said) => {
    const [client, wire] = await bareServer({ logger: silentLog() });
    // Ids of calls are numbers from 1: keep them free, no frame may answer these calls by luck.
    for (let spent = 0; spent < 10; spent++) await spend(client, wire);
    const calls = Array.from({ length: 5 }, (_, n) => client.call("echo", [n]));
    const asked = await wire.some(5);
    for (const frame of said) wire.send(frame);
    for (const { id, params } of asked) wire.send({ jsonrpc: "2.0", result: params, id });
    const answers = await Promise.all(calls);
    assertEquals(answers, calls.map((_, n) => [n]));
    await client.close();
  }));
});

test("JsonRpcClient matches none of 1,000 calls with any of 100,000 answers at random", async () => {
  const [client, wire] = await bareServer({ logger: silentLog() });
  const calls = Array.from({ length: 1000 }, (_, n) => client.call("echo", [n]));
  const asked = await wire.some(calls.length);
  const known = new Set<unknown>(asked.map(({ id }) => id));
  const foreign = fc.oneof(
    fc.integer({ min: -10, max: 3000 }),
    fc.integer({ min: 1, max: 1000 }).map((id) => `${id}`),
    fc.integer({ min: 1, max: 1000 }).map((id) => id + 0.5),
    fc.jsonValue(),
  ).filter((id) => !known.has(id));
  const lie = fc.record({
    jsonrpc: fc.constant("2.0"),
    id: foreign,
    result: fc.constant("lie"),
    error: fc.option(fc.record({ code: fc.integer(), message: fc.string() }), { nil: undefined }),
  });
  for (const [n, each] of fc.sample(lie, 100_000).entries()) {
    wire.send(each);
    if (n % 1000 === 0) await quietMoment();
  }
  for (const { id, params } of asked) wire.send({ jsonrpc: "2.0", result: params, id });
  assertEquals(await Promise.all(calls), calls.map((_, n) => [n]));
  assertEquals(wire.received.length, calls.length, "an answer was answered");
  await client.close();
});

/** Makes one call and answers it. */
async function spend(client: JsonRpcClient, wire: WirePeer): Promise<void> {
  const call = client.call("echo", []);
  const { id } = await wire.next();
  wire.send({ jsonrpc: "2.0", result: null, id });
  await call;
}

// -- over real ones --

for (const { label, runtime: name, args } of targets) {
  let server: SpawnedServer | undefined;
  test(
    `${label} answers each call of any frames once, and nothing else`,
    await needs(name),
    async () => {
      server = await spawnServer(name, "tests/programs/conformance_server.ts", args);
      const line = await RawSocket.open(server.url);
      await fc.assert(
        fc.asyncProperty(fc.array(anyFrame, { maxLength: 40 }), async (said) => {
          line.send(...said);
          const answers: Message[] = [];
          const due = said.flatMap(idsToAnswer).length;
          while (idsOf(answers).length < due) answers.push(await line.next());
          assertAnswered(answers, said);
          await line.assertSilent();
        }),
        { numRuns: 30, endOnFailure: true },
      );
      await line.leave();
      await assertAlive(server.url);
    },
  );
  after(async () => await server?.stop());
}
