/**
 * Answers to POSTs that are streams of events, as the client reads them: progress and notifications of one call,
 * then its answer.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { test } from "node:test";
import {
  connect,
  JsonRpc,
  JsonRpcClient,
  RpcConnectionError,
  RpcError,
  RpcTimeoutError,
} from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { mcp, withDialect } from "@x/jsonrpc/dialect";
import { httpTransport } from "@x/jsonrpc/http";
import { trace } from "@x/jsonrpc/trace";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

const NOWHERE = "http://127.0.0.1:1";

function testServer(options: JsonRpcOptions = {}) {
  const ended: string[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), ...options })
    .method("work", async ([steps]: [number], request) => {
      for (let step = 1; step <= steps; step++) {
        request.progress({ step });
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return "done";
    })
    .method("tell", (_params: unknown, request) => {
      request.notify("hello", ["you"]);
      return "told";
    })
    .method("tell twice", async (_params: unknown, request) => {
      request.notify("hello", [1]);
      await new Promise((resolve) => setTimeout(resolve, 1));
      request.notify("hello", [2]);
    })
    .method("fail", (_params: unknown, request) => {
      request.progress(1);
      throw new RangeError("Broken");
    })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("accept", (_params: unknown, request) => {
      request.progress(1);
      return request.connection.handshake.headers.get("accept");
    })
    .method("wait", async (_params: unknown, request) => {
      request.progress("begun");
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      ended.push(request.method);
    });
  return { rpc, ended };
}

for (const [where, serve] of [["this runtime", serveHere], ["./node", serveOnNode]] as const) {
  for (const way of ["url", "ws"] as const) {
    test(`onProgress gets progress, and methods notifications, over ${way} on ${where}`, async () => {
      const { rpc } = testServer();
      await using server = await serve(rpc);
      await using client = await connect<typeof rpc>(server[way]);
      const seen: unknown[] = [];
      const onProgress = (value: unknown) => void seen.push(value);
      assertEquals(await client.call("work", [3], { onProgress }), "done");
      assertEquals(seen.splice(0), [{ step: 1 }, { step: 2 }, { step: 3 }]);
      await assertRejects(() => client.call("fail", [], { onProgress }), Error, "Internal error");
      assertEquals(seen.splice(0), [1]);

      const many = Array.from({ length: 20 }, (_, index) => {
        const steps: unknown[] = [];
        return client.call("work", [index], { onProgress: (step) => steps.push(step) })
          .then(() => steps.length);
      });
      assertEquals(await Promise.all(many), [...Array(20).keys()]);

      const results = await client.batch((b) => [
        b.call("work", [2], { onProgress }),
        b.call("add", [1, 2], { onProgress }),
        b.call("work", [1]),
      ]);
      assertEquals([results, seen.splice(0)], [["done", 3, "done"], [{ step: 1 }, { step: 2 }]]);

      client.method("hello", (params) => void seen.push(params));
      assertEquals(await client.call("tell", []), "told");
      assertEquals(seen.splice(0), [["you"]]);
      client.notify("tell twice");
      await until(() => seen.length === 2);
    });
  }

  test(`a call over POST that is given up in the midst ends on ${where}`, async () => {
    const { rpc, ended } = testServer({ heartbeatMs: 5 });
    await using server = await serve(rpc);
    const logger = silentLog();
    const client = await connect<typeof rpc>(server.url, { logger });
    const controller = new AbortController();
    const { signal } = controller;
    const onProgress = () => controller.abort(new Error("enough"));
    await assertRejects(() => client.call("wait", [], { signal, onProgress }), Error, "enough");
    await until(() => ended.length === 1);

    const timed = client.call("wait", [], { timeoutMs: 50, onProgress() {} });
    await assertRejects(() => timed, RpcTimeoutError);
    await until(() => ended.length === 2);

    const begun = Promise.withResolvers<unknown>();
    const closed = client.call("wait", [], { onProgress: begun.resolve });
    await begun.promise;
    await client.close();
    await assertRejects(() => closed, RpcConnectionError, "the client was closed");
    await until(() => ended.length === 3);
    await until(() => rpc.stats().requests === 0);
    assertEquals([logger.lines, rpc.stats().memoryBytes], [[], 0]);
  });
}

test("a client asks for events only if it listens, whatever its headers say", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const both = "application/json, text/event-stream";
  await using client = await connect<typeof rpc>(server.url);
  assert(!`${await client.call("accept", [])}`.includes("event-stream"));
  assertEquals(await client.call("accept", [], { onProgress() {} }), both);
  const remove = client.method("hello", () => {});
  assertEquals(await client.call("accept", []), both);
  remove();
  assert(!`${await client.call("accept", [])}`.includes("event-stream"));
  const headers = { accept: "application/json" };
  await using picky = await connect<typeof rpc>(server.url, { headers });
  assertEquals(await picky.call("accept", []), "application/json");
  assertEquals(await picky.call("accept", [], { onProgress() {} }), both);
});

test("a client over a fetch of its own ends a stream that nobody waits for", async () => {
  const { rpc, ended } = testServer();
  const fetch = async (url: string, { signal: _, ...init }: RequestInit) =>
    await rpc.fetch(new Request(url, init));
  await using client = await connect<typeof rpc>(NOWHERE, { fetch });
  const seen: unknown[] = [];
  const onProgress = (value: unknown) => void seen.push(value);
  assertEquals(await client.call("work", [2], { onProgress }), "done");
  const timed = client.call("wait", [], { timeoutMs: 50, onProgress });
  await assertRejects(() => timed, RpcTimeoutError);
  await until(() => ended.length === 1);
  assertEquals(seen, [{ step: 1 }, { step: 2 }, "begun"]);
  assertEquals(rpc.stats().memoryBytes, 0);
});

test("a trace of the client has each event", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const frames: string[] = [];
  const tracing = trace(({ direction, text }) => frames.push(`${direction} ${text}`));
  await using client = await connect<typeof rpc>(server.url, { trace: tracing });
  await client.call("work", [1], { onProgress() {} });
  assertEquals(frames, [
    'out {"jsonrpc":"2.0","method":"work","params":[1],"id":1}',
    'in {"jsonrpc":"2.0","method":"$/progress","params":{"token":1,"value":{"step":1}}}',
    'in {"jsonrpc":"2.0","result":"done","id":1}',
  ]);
});

/** Answers with a stream of these pieces; tells how many were read, and whether the stream was cancelled. */
function streamOf(
  pieces: Iterable<string | Uint8Array<ArrayBuffer>>,
  end: "ends" | "breaks" | "stays" = "ends",
  init: ResponseInit = {},
) {
  const state = { pulled: 0, cancelled: false };
  const source = pieces[Symbol.iterator]();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const { done, value } = source.next();
      if (!done) {
        state.pulled++;
        const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
        return controller.enqueue(bytes);
      }
      if (end === "ends") controller.close();
      else if (end === "breaks") controller.error(new Error("The network is gone"));
      else return new Promise(() => {});
    },
    cancel: () => void (state.cancelled = true),
  }, { highWaterMark: 0 });
  const headers = { "content-type": "Text/Event-Stream; charset=utf-8" };
  return { state, fetch: () => Promise.resolve(new Response(body, { headers, ...init })) };
}

const event = (message: unknown) => `data: ${JSON.stringify(message)}\n\n`;
const progress = (value: unknown, token = 1) => ({
  jsonrpc: "2.0",
  method: "$/progress",
  params: { token, value },
});
const answer = (result: unknown, id: unknown = 1) => ({ jsonrpc: "2.0", result, id });

test("any split of the bytes gives the same events, with any ends of lines", async () => {
  const message = fc.record({
    value: fc.string({ unit: "binary" }),
    lines: fc.integer({ min: 0, max: 2 }),
    before: fc.array(
      fc.constantFrom(
        ...[": a comment\n", "id: 7\n", "retry: 10\n", "datax: {\n", "unknown\n", "data x: {\n"],
        ...[
          "\n",
          "data\n\n",
          "data:\n\n",
          "event: other\ndata: {\n\n",
          "event: message\n",
          "event\n",
        ],
      ),
      { maxLength: 3 },
    ),
  });
  const style = fc.record({
    lineEnd: fc.constantFrom("\n", "\r\n", "\r"),
    start: fc.constantFrom("", "\ufeff"),
    field: fc.constantFrom("data:", "data: "),
  });
  const sizes = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { maxLength: 6 }),
      style,
      sizes,
      async (all, form, sizes) => {
        const { lineEnd, start, field } = form;
        const toText = (message: unknown, lines: number) =>
          JSON.stringify(message, undefined, lines).split("\n")
            .map((line) => `${field}${line}\n`).join("") + "\n";
        const texts = all.map(({ value, lines, before }) =>
          before.join("") + toText(progress(value), lines)
        );
        const text = [...texts, toText(answer("done"), 0)].join("").replaceAll("\n", lineEnd);
        const { fetch } = streamOf(split(new TextEncoder().encode(start + text), sizes));
        const seen: unknown[] = [];
        await using client = new JsonRpcClient(NOWHERE, { fetch });
        const onProgress = (value: unknown) => void seen.push(value);
        assertEquals(await client.call("work", undefined, { onProgress }), "done");
        assertEquals(seen, all.map(({ value }) => value));
      },
    ),
    { numRuns: 100 },
  );
});

/** Cuts bytes into pieces of these sizes, again and again. */
function* split(bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[]) {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    // Not 0 for ever.
    const size = sizes[turn % sizes.length] || turn % 2;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const BROKEN: Readonly<Record<string, readonly [pieces: readonly string[], end?: "breaks"]>> = {
  "that ends before its answer": [[event(progress(1))]],
  "that is empty": [[]],
  "that ends in the midst of its answer": [[event(progress(1)), 'data: {"jsonrpc":"2.0","resu']],
  "whose last line is missing": [[event(progress(1)), event(answer(1)).slice(0, -1)]],
  "that breaks off": [[event(progress(1)), "data: {"], "breaks"],
  "whose event is no JSON": [[event(progress(1)), "data: hello\n\n"]],
  "whose event is no message": [[event(42), event(null), event([]), event("x"), event({})]],
  "that answers another call": [[event(answer(1, 2)), event(answer(1, "1"))]],
};

for (const [what, [pieces, end]] of Object.entries(BROKEN)) {
  test(`a call rejects with "unknown" if its answer is a stream ${what}`, async () => {
    const { fetch, state } = streamOf(pieces, end);
    await using client = new JsonRpcClient(NOWHERE, { fetch, logger: silentLog() });
    const call = client.call("work", undefined, { onProgress() {} });
    const error = await assertRejects(() => call, RpcConnectionError, "did not answer the call");
    assertEquals(error.outcome, "unknown");
    assert(state.pulled === pieces.length);
  });
}

test("a call takes the error of a stream, with its id or without", async () => {
  for (const id of [1, null]) {
    const error = { jsonrpc: "2.0", error: { code: -32001, message: "Down" }, id };
    const { fetch } = streamOf([event(progress(1)), event(error)], "ends", { status: 200 });
    await using client = new JsonRpcClient(NOWHERE, { fetch });
    const call = client.call("work", undefined, { onProgress() {} });
    assertEquals((await assertRejects(() => call, RpcError, "Down")).code, -32001);
  }
});

test("the calls of a batch may be answered one by one, and what follows is not read", async () => {
  const pieces = [
    event(answer(1, 1)),
    event(progress("on", 2)),
    event([answer(2, 2), progress("late", 2)]),
    event(progress("later", 2)),
  ];
  const { fetch, state } = streamOf(pieces, "stays");
  await using client = new JsonRpcClient(NOWHERE, { fetch });
  const seen: unknown[] = [];
  const options = { onProgress: (value: unknown) => void seen.push(value) };
  const results = await client.batch((b) => [
    b.call("a", [], options),
    b.call("b", [], options),
  ]);
  assertEquals([results, seen], [[1, 2], ["on"]]);
  await until(() => state.cancelled);
  assert(state.pulled <= 4);
});

test("a server that never ends its answer is left soon after it", async () => {
  const { fetch, state } = streamOf([event(answer("done"))], "stays");
  await using client = new JsonRpcClient(NOWHERE, { fetch });
  assertEquals(await client.call("work", undefined, { onProgress() {} }), "done");
  await until(() => state.cancelled);
});

test("a notification whose answer never ends is left when the client closes", async () => {
  const notice = { jsonrpc: "2.0", method: "hello", params: [] };
  const { fetch, state } = streamOf([event(notice)], "stays");
  const client = new JsonRpcClient(NOWHERE, { fetch });
  const seen: unknown[] = [];
  client.method("hello", (params: unknown) => void seen.push(params));
  client.notify("tell");
  await until(() => seen.length === 1);
  assertEquals(state.cancelled, false);
  await client.close();
  await until(() => state.cancelled);
});

test("a server that never answers is left when the call has timed out", async () => {
  function* comments() {
    for (;;) yield ":\n\n";
  }
  const { fetch: open, state } = streamOf(comments());
  const fetch = async () => {
    const { body, headers } = await open();
    // One comment each turn of the event loop, as from a network.
    const slow = body!.pipeThrough(
      new TransformStream({
        async transform(bytes, controller) {
          await new Promise((resolve) => setTimeout(resolve, 0));
          controller.enqueue(bytes);
        },
      }),
    );
    return new Response(slow, { headers });
  };
  await using client = new JsonRpcClient(NOWHERE, { fetch });
  const call = client.call("work", undefined, { timeoutMs: 50, onProgress() {} });
  await assertRejects(() => call, RpcTimeoutError);
  await until(() => state.cancelled);
});

const LIMIT = 100;
const ofLength = (length: number, fill: string) => {
  const left = length - JSON.stringify(progress("")).length;
  const bytes = new TextEncoder().encode(fill).length;
  return progress(fill.repeat(left / bytes) + "x".repeat(left % bytes));
};

for (const fill of ["x", "€"]) {
  test(`an event may have maxMessageBytes, and not one more: ${fill}`, async () => {
    for (const [length, fits] of [[LIMIT, true], [LIMIT + 1, false]] as const) {
      const text = event(ofLength(length, fill));
      for (const pieces of [[text], [...text]]) {
        const { fetch, state } = streamOf([...pieces, event(answer("done"))]);
        await using client = new JsonRpcClient(NOWHERE, { fetch, maxMessageBytes: LIMIT });
        const call = client.call("work", undefined, { onProgress() {} });
        if (fits) assertEquals(await call, "done");
        else {
          const error = await assertRejects(() => call, RpcConnectionError, "(maxMessageBytes)");
          assertEquals([error.outcome, state.cancelled], ["unknown", true]);
        }
      }
    }
  });
}

for (const piece of ["x", "data: x", "data: xxxxx\n", "data\n", ":", "event: xx"]) {
  test(`an event without an end is not held: ${JSON.stringify(piece)}`, async () => {
    function* endless() {
      for (;;) yield piece;
    }
    const { fetch, state } = streamOf(endless());
    await using client = new JsonRpcClient(NOWHERE, { fetch, maxMessageBytes: 1000 });
    const call = client.call("work", undefined, { onProgress() {} });
    await assertRejects(() => call, RpcConnectionError, "it is over 1000 bytes (maxMessageBytes)");
    assert(state.cancelled && state.pulled <= 1100, `${state.pulled}`);
  });
}

test("a server may answer with JSON although the client listens, and with events to none", async () => {
  const json = () => Promise.resolve(Response.json(answer("done")));
  await using plain = new JsonRpcClient(NOWHERE, { fetch: json });
  assertEquals(await plain.call("work", undefined, { onProgress() {} }), "done");
  const { fetch } = streamOf([event(answer("done"))]);
  await using deaf = new JsonRpcClient(NOWHERE, { fetch });
  await assertRejects(() => deaf.call("work"), RpcConnectionError, "did not answer the call");
});

test("a server of another make may call a client that waits for its answer", async () => {
  const bodies: unknown[] = [];
  const question = { jsonrpc: "2.0", method: "confirm", params: { message: "Sure?" }, id: "q" };
  const { fetch: open } = streamOf([event(question), event(answer("done"))]);
  const fetch = async (_url: string, { body }: RequestInit) => {
    bodies.push(JSON.parse(`${body}`));
    return bodies.length === 1 ? await open() : new Response(null, { status: 202 });
  };
  const logger = silentLog();
  await using client = new JsonRpcClient(NOWHERE, { fetch, logger });
  client.method("confirm", () => true);
  assertEquals(await client.call("work"), "done");
  await until(() => bodies.length === 2);
  assertEquals(bodies[1], answer(true, "q"));
  assertEquals(logger.lines, []);
});

test("a client in the MCP dialect gets progress over POST", async () => {
  const notice = {
    jsonrpc: "2.0",
    method: "notifications/progress",
    params: { progressToken: 1, progress: 1, total: 2 },
  };
  const bodies: unknown[] = [];
  const { fetch: open } = streamOf([event(notice), event(answer({}))]);
  const fetch = async (_url: string, { body }: RequestInit) => {
    bodies.push(JSON.parse(`${body}`));
    return await open();
  };
  const seen: unknown[] = [];
  await using client = await connect(withDialect(httpTransport(NOWHERE, { fetch }), mcp));
  const onProgress = (value: unknown) => void seen.push(value);
  await client.call("tools/call", { name: "count" }, { onProgress });
  assertEquals(seen, [{ progress: 1, total: 2 }]);
  const params = { name: "count", _meta: { progressToken: 1 } };
  assertEquals(bodies, [{ jsonrpc: "2.0", method: "tools/call", params, id: 1 }]);
});
