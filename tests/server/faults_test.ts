/**
 * Real servers in processes of their own, killed and cut off in the middle of things: every call settles, no
 * place is lost, and later clients are answered.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import process from "node:process";
import { after, test } from "node:test";
import { connect, RpcConnectionError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { assertAlive, Post } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { proxy } from "../helpers/proxy.ts";
import type { Fate, Link, Proxy, Way } from "../helpers/proxy.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";
import { newKey, noConnectionIsLeft, notedOf } from "../conformance/case.ts";
import { targets } from "../helpers/targets.ts";
import type { Target } from "../helpers/targets.ts";
import { needs } from "../helpers/needs.ts";

const TARGET = "tests/programs/conformance_server.ts";

/** What a call rejects with; `undefined` where it does not. */
function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(() => undefined, (error) => error);
}

/** Makes sure that a call was lost on its way, and says so. */
function assertLost(error: unknown): void {
  assert(error instanceof RpcConnectionError, `Expected RpcConnectionError, got ${error}`);
  assertEquals((error as RpcConnectionError).outcome, "unknown");
}

/** A client through a proxy, which has had its first answer. */
async function throughProxy(between: Proxy): Promise<{ client: JsonRpcClient; link: Link }> {
  const client = await connect(between.ws, { logger: silentLog(), reconnect: false });
  assertEquals(await client.call("ping"), "pong");
  return { client: client as unknown as JsonRpcClient, link: between.last };
}

// -- killed --

/** A server that can be started again where it was. */
async function start({ runtime: name, args }: Target, port = 0): Promise<SpawnedServer> {
  return await spawnServer(name, TARGET, args, { PORT: `${port}` });
}

for (const target of targets) {
  test(
    `call() rejects at once when ${target.label} is killed in mid-call, and the client comes back`,
    await needs(target.runtime),
    async () => {
      const first = await start(target);
      const client = await connect(first.url.replace("http", "ws"), {
        logger: silentLog(),
        reconnect: { minMs: 20, maxMs: 200 },
      });
      client.method("question", () => new Promise(() => {}));
      const calls = ["hang", "hang", "askBack"].map((name) => failureOf(client.call(name, ["x"])));
      assertEquals(await client.call("ping"), "pong");
      process.kill(first.pid, "SIGKILL");
      for (const error of await Promise.all(calls)) assertLost(error);
      await first.stop();
      const waiting = client.call("ping");
      const second = await start(target, Number(new URL(first.url).port));
      try {
        assertEquals(second.url, first.url);
        assertEquals(await waiting, "pong");
        await assertAlive(second.url);
      } finally {
        await client.close();
        await second.stop();
      }
    },
  );
}

// -- cut, slowed, stopped --

interface Fault {
  readonly name: string;
  run(between: Proxy, url: string): Promise<void>;
}

const LONG = "x".repeat(200_000);

const faults: readonly Fault[] = [
  {
    name: "a call that breaks off in mid-frame does not run, and rejects",
    async run(between, url) {
      for (const bytes of [1, 5, 1000, 190_000]) {
        const { client, link } = await throughProxy(between);
        const key = newKey();
        link.up.breakAfter(bytes);
        assertLost(await failureOf(client.call("note", [key, LONG])));
        assertEquals(await notedOf(new Post(url), key), 0);
        await client.close();
      }
    },
  },
  {
    name: "an answer that breaks off in mid-frame rejects, though the call has run",
    async run(between, url) {
      for (const bytes of [1, 5, 1000, 190_000]) {
        const { client, link } = await throughProxy(between);
        const key = newKey();
        link.down.breakAfter(bytes);
        const both = [client.call("note", [key]), client.call("large", [200_000])];
        for (const error of (await Promise.all(both.map(failureOf))).slice(1)) assertLost(error);
        await client.close();
        await until(async () => await notedOf(new Post(url), key) === 1);
      }
    },
  },
  {
    name: "messages that arrive in crumbs are whole",
    async run(between) {
      const { client, link } = await throughProxy(between);
      link.up.become("crumbs");
      link.down.become("crumbs");
      const texts = ["", "é漢😀".repeat(50), "x".repeat(500)];
      const echoes = texts.map((text) => client.call("echo", [text]));
      assertEquals(await Promise.all(echoes), texts.map((text) => [text]));
      await client.close();
    },
  },
  {
    name: "what is late is answered in time, each call by its own",
    async run(between) {
      const { client, link } = await throughProxy(between);
      link.up.become("late");
      link.down.become("late");
      const calls = Array.from(
        { length: 100 },
        (_, n) => client.call(n % 2 ? "later" : "echo", [n]),
      );
      assertEquals(await Promise.all(calls), calls.map((_, n) => [n]));
      await client.close();
    },
  },
  {
    name: "a client that stops reading for a while misses nothing",
    async run(between, url) {
      const { client, link } = await throughProxy(between);
      link.down.become("hold");
      const calls = Array.from({ length: 12 }, () => client.call("large", [200_000]));
      await assertAlive(url);
      link.down.become("pass");
      const lengths = (await Promise.all(calls)).map((text) => (text as string).length);
      assertEquals(lengths, calls.map(() => 200_000));
      await client.close();
    },
  },
  {
    name: "a client that says no more has its place freed, and its calls reject",
    async run(between) {
      const { client, link } = await throughProxy(between);
      const call = failureOf(client.call("hang", [newKey()]));
      link.up.end();
      assertLost(await call);
      await client.close();
    },
  },
  {
    name: "a client whose server says no more has its calls rejected",
    async run(between) {
      const { client, link } = await throughProxy(between);
      const call = failureOf(client.call("hang", [newKey()]));
      link.down.end();
      assertLost(await call);
      await client.close();
    },
  },
  {
    name: "a call that gets lost on the way times out, and a cut frees its place",
    async run(between) {
      const { client, link } = await throughProxy(between);
      link.down.become("lose");
      const error = await failureOf(client.call("ping", [], { timeoutMs: 50 }));
      assertStringIncludes(`${error}`, "timed out");
      link.cut();
      await client.close();
    },
  },
  {
    name: "the handlers of a client that was cut off are told",
    async run(between, url) {
      const { client, link } = await throughProxy(between);
      const key = newKey();
      const calls = Array.from({ length: 50 }, () => failureOf(client.call("hang", [key])));
      assertEquals(await client.call("ping"), "pong");
      link.cut();
      for (const error of await Promise.all(calls)) assertLost(error);
      await until(async () => await notedOf(new Post(url), key) === 50);
      await client.close();
    },
  },
  {
    name: "a POST that breaks off, either way, rejects",
    async run(between, url) {
      for (const way of ["up", "down"] as const) {
        between.greet = (link) => link[way].breakAfter(100_000);
        const client = await connect(between.url, { logger: silentLog() });
        assertLost(await failureOf(client.call("echo", [LONG])));
        await client.close();
        await assertAlive(url);
      }
      between.greet = undefined;
    },
  },
];

// -- whatever happens --

type Blow =
  | readonly [act: "call", method: string]
  | readonly [act: "become", way: Way, fate: Fate]
  | readonly [act: "break", way: Way, bytes: number]
  | readonly [act: "ask" | "cut"];

const way = fc.constantFrom<Way>("up", "down");
const method = fc.constantFrom("ping", "later", "echo", "large", "hang", "missing");
const fate = fc.constantFrom<Fate>("pass", "late", "crumbs", "hold", "lose");
const blow: fc.Arbitrary<Blow> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("call" as const), method) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("become" as const), way, fate) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("break" as const), way, fc.nat({ max: 3000 })) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("ask" as const)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("cut" as const)) },
);

/** Runs a row of blows against one connection; at its end every call has settled. */
async function suffer(between: Proxy, blows: readonly Blow[]): Promise<void> {
  const { client, link } = await throughProxy(between);
  const calls: Promise<unknown>[] = [];
  for (const each of blows) {
    switch (each[0]) {
      case "call":
        calls.push(failureOf(client.call(each[1], [1000])));
        break;
      case "ask":
        await failureOf(client.call("ping", [], { timeoutMs: 20 }));
        break;
      case "become":
        link[each[1]].become(each[2]);
        break;
      case "break":
        link[each[1]].breakAfter(each[2]);
        break;
      case "cut":
        link.cut();
    }
  }
  link.cut();
  await Promise.all(calls);
  await client.close();
}

const random: Fault = {
  name: "every call settles, whatever happens to the bytes",
  async run(between, url) {
    const property = fc.asyncProperty(fc.array(blow, { maxLength: 25 }), async (blows) => {
      await suffer(between, blows);
    });
    await fc.assert(property, { numRuns: 60, endOnFailure: true });
    await assertAlive(url);
  },
};

for (const target of targets) {
  const needed = await needs(target.runtime);
  let running: Promise<[SpawnedServer, Proxy]> | undefined;
  for (const fault of [...faults, random]) {
    test(`${target.label}: ${fault.name}`, needed, async () => {
      running ??= begin(target);
      const [{ url }, between] = await running;
      await fault.run(between, url);
      await assertAlive(url);
      await noConnectionIsLeft(url);
    });
  }
  after(async () => {
    const both = await running;
    await both?.[1].stop();
    await both?.[0].stop();
  });
}

/** Starts a server and puts a proxy before it. */
async function begin(target: Target): Promise<[SpawnedServer, Proxy]> {
  const server = await start(target);
  return [server, await proxy(server.url)];
}
