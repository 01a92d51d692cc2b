/**
 * Streams over a connection that breaks: a real socket, through a proxy that the test cuts.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import { stream, StreamCutError } from "@x/jsonrpc/stream";
import { cuttableProxy } from "../helpers/cuttable_proxy.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const NAMES = { unsubscribe: "watch_end", notification: "watch_item" };
const reconnect = { minMs: 1, maxMs: 20 };

/** A server without heartbeats, so that nothing but what the test does reaches a generator. */
async function setUp() {
  const ended: string[] = [];
  let cutAt = 0;
  const rpc = new JsonRpc({ logger: silentLog(), heartbeatMs: 0 })
    .method("numbers", async function* ([from, to]: [number, number | null], { signal }) {
      try {
        for (let number = from; number <= (to ?? Infinity); number++) {
          yield number;
          if (number === cutAt) await untilAborted(signal);
        }
      } finally {
        ended.push("numbers");
      }
    })
    .method("ping", () => "pong")
    .stream("watch", NAMES, async function* ([from]: [number], { signal }) {
      try {
        for (let number = from;; number++) {
          yield number;
          if (number === cutAt) await untilAborted(signal);
        }
      } finally {
        ended.push("watch");
      }
    });
  const server = await serveHere(rpc);
  const proxy = await cuttableProxy(server);
  const client = await connect<typeof rpc>(proxy.ws, {
    reconnect,
    heartbeatMs: 0,
    logger: silentLog(),
  });
  return {
    client,
    ended,
    /** The generators wait after this number until their connection is cut. */
    waitAt: (number: number) => void (cutAt = number),
    cut: () => proxy.cut(),
    async [Symbol.asyncDispose]() {
      await client.close();
      await proxy.stop();
      await server.stop();
    },
  };
}

/** Waits until a signal aborts; not for ever, so that a fault fails the test. */
function untilAborted(signal: AbortSignal): Promise<void> {
  return until(() => signal.aborted);
}

test("a result that is cut ends with an error that says how far it came, and its generator ends", async () => {
  await using scene = await setUp();
  const { client, ended } = scene;
  scene.waitAt(5);
  const taken: unknown[] = [];
  const error = await assertRejects(async () => {
    for await (const item of stream(client, "numbers", [1, 9])) {
      taken.push(item);
      if (item === 5) scene.cut();
    }
  }, RpcConnectionError);
  assert(error instanceof StreamCutError);
  assertEquals([error.received, error.outcome, taken], [5, "unknown", [1, 2, 3, 4, 5]]);
  assert(error.message.startsWith('Stream "numbers" was cut after 5 items: '), error.message);
  await until(() => ended.length === 1);
  assertEquals(await client.call("ping"), "pong");
});

test("a result with resume goes on after each cut: every item once, in order", async () => {
  await using scene = await setUp();
  const taken: unknown[] = [];
  scene.waitAt(100);
  const resume = (last: unknown) => [Number(last ?? 0) + 1, 300];
  for await (const item of stream(scene.client, "numbers", [1, 300], { credit: 8, resume })) {
    taken.push(item);
    if (item === 100) {
      scene.waitAt(200);
      scene.cut();
    }
    if (item === 200) scene.cut();
  }
  assertEquals(taken, Array.from({ length: 300 }, (_, index) => index + 1));
  await until(() => scene.ended.length === 3);
});

test("a subscription by id with resume goes on after each cut: every item once, in order", async () => {
  await using scene = await setUp();
  const taken: unknown[] = [];
  scene.waitAt(100);
  const resume = (last: unknown) => [Number(last ?? 0) + 1];
  for await (const item of stream(scene.client, "watch", [1], { ...NAMES, resume })) {
    taken.push(item);
    if (item === 100) {
      scene.waitAt(200);
      scene.cut();
    }
    if (item === 200) {
      scene.waitAt(250);
      scene.cut();
    }
    if (item === 250) break;
  }
  assertEquals(taken, Array.from({ length: 250 }, (_, index) => index + 1));
  await until(() => scene.ended.length === 3);
});

test("a subscription by id without resume throws after a cut, once its items were read", async () => {
  await using scene = await setUp();
  scene.waitAt(4);
  const taken: unknown[] = [];
  await assertRejects(
    async () => {
      for await (const item of stream(scene.client, "watch", [1], NAMES)) {
        taken.push(item);
        if (item === 4) scene.cut();
      }
    },
    RpcConnectionError,
    "Stream ended",
  );
  assertEquals(taken, [1, 2, 3, 4]);
  await until(() => scene.ended.length === 1);
});

test("a generator runs its finally after a break, an abort and a cut, with nothing sent after it", async () => {
  for (const how of ["break", "abort", "cut", "cancelled call"] as const) {
    await using scene = await setUp();
    const { client, ended } = scene;
    const controller = new AbortController();
    const { signal } = controller;
    scene.waitAt(2);
    if (how === "cancelled call") {
      const call = client.call("numbers", [1, 9], { signal });
      const failed = assertRejects(() => call);
      await client.call("ping");
      controller.abort();
      await failed;
    } else {
      const items = stream(client, "numbers", [1, null], { credit: 2, signal });
      await items.next();
      if (how === "break") await items.return();
      else if (how === "abort") controller.abort();
      else scene.cut();
    }
    await until(() => ended.length === 1);
  }
});
