/**
 * Spans and metrics, as an SDK of OpenTelemetry receives them.
 */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { connect, JsonRpc, RpcError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { withMiddleware } from "@x/jsonrpc/middleware";
import { otel, otelClient, otelIncoming } from "@x/jsonrpc/otel";
import type { OtelClientOptions, OtelServerOptions } from "@x/jsonrpc/otel";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { Recorder } from "./recorder.ts";

interface Scene {
  readonly recorder: Recorder;
  readonly client: JsonRpcClient;
  readonly plain: JsonRpcClient;
  readonly url: string;
  /** What handlers got as params. */
  readonly seen: unknown[];
}

/** A server and a client on a real socket, both recorded. */
async function withScene(
  use: (scene: Scene) => Promise<void>,
  server: OtelServerOptions = {},
  own: OtelClientOptions = {},
): Promise<void> {
  const recorder = new Recorder();
  const seen: unknown[] = [];
  const never = new Promise(() => {});
  const rpc = new JsonRpc({ logger: silentLog() })
    .use(otel({ ...recorder.options, ...server }))
    .topic("clock")
    .method("echo", (params: object) => void seen.push(params))
    .method("later", async (params: { a?: number }) => {
      await Promise.resolve();
      recorder.options.tracerProvider.getTracer("test").startSpan("inside").end();
      return params.a ?? null;
    })
    .method("refuse", () => {
      throw new RpcError(402, "Not enough money");
    })
    .method("crash", () => {
      throw new TypeError("secret detail");
    })
    .method("slow", { timeoutMs: 20 }, () => never)
    .method("hang", () => never);
  await using served = await serveHere(rpc);
  const plain = await connect(served.ws, { logger: silentLog() }) as unknown as JsonRpcClient;
  const url = served.ws;
  const client = withMiddleware(plain, [otelClient({ ...recorder.options, url, ...own })]);
  try {
    await use({ recorder, client, plain, url: served.url, seen });
  } finally {
    await plain.close();
    await recorder.end();
  }
}

test("a call over a socket is a span at each end, in one trace", async () => {
  await withScene(async ({ recorder, client, seen, url }) => {
    const tracer = recorder.options.tracerProvider.getTracer("test");
    const outer = tracer.startSpan("outer");
    const result = await context.with(
      trace.setSpan(context.active(), outer),
      () => client.call("later", { a: 7 }),
    );
    assertEquals(result, 7);
    await client.call("echo", { a: 1, _meta: { progressToken: 9 } });
    assertEquals(seen, [{ a: 1, _meta: { progressToken: 9 } }]);
    await client.call("echo", { b: 2 });
    assertEquals(seen.at(-1), { b: 2 });
    const [called] = recorder.spans(SpanKind.CLIENT) as [ReadableSpan];
    const [served] = recorder.spans(SpanKind.SERVER) as [ReadableSpan];
    const [inside] = recorder.spans(SpanKind.INTERNAL) as [ReadableSpan];
    const traceId = outer.spanContext().traceId;
    const spans = [called, served, inside];
    assertEquals(spans.map((span) => span.spanContext().traceId), [traceId, traceId, traceId]);
    assertEquals(spans.map(({ parentSpanContext }) => parentSpanContext?.spanId), [
      outer.spanContext().spanId,
      called.spanContext().spanId,
      served.spanContext().spanId,
    ]);
    const { hostname, port } = new URL(url);
    const common = {
      "rpc.system.name": "jsonrpc",
      "rpc.method": "later",
      "jsonrpc.protocol.version": "2.0",
      "server.address": hostname,
      "server.port": Number(port),
    };
    assertEquals([called.name, called.attributes], ["later", common]);
    assertEquals(served.name, "later");
    const { "network.peer.address": peer, ...attributes } = served.attributes;
    assertMatch(String(peer), /127\.0\.0\.1|undefined/);
    assertEquals(attributes, {
      ...common,
      "jsonrpc.request.id": "1",
      "network.protocol.name": "websocket",
    });
    assertEquals(spans.map(({ status }) => status.code), [0, 0, 0]);
  });
});

test("errors end spans with their code, and unknown methods share one name", async () => {
  await withScene(async ({ recorder, client }) => {
    for (const method of ["refuse", "crash", "no.such.method"]) {
      await assertRejects(() => client.call(method, {}));
    }
    const seen = (kind: SpanKind) =>
      recorder.spans(kind).map(({ name, attributes, status }) => [
        name,
        attributes["rpc.method"],
        attributes["rpc.method_original"],
        attributes["error.type"],
        attributes["rpc.status_code"],
        status.code === SpanStatusCode.ERROR,
      ]);
    const expected = [
      ["refuse", "refuse", undefined, "402", "402", true],
      ["crash", "crash", undefined, "-32603", "-32603", true],
      ["jsonrpc", "_OTHER", "no.such.method", "-32601", "-32601", true],
    ];
    assertEquals(seen(SpanKind.CLIENT), expected);
    assertEquals(seen(SpanKind.SERVER), expected);
    const [, crashed] = recorder.spans(SpanKind.SERVER);
    assertEquals(crashed?.events.map(({ attributes }) => attributes?.["exception.message"]), [
      "secret detail",
    ]);
  });
});

test("a call that times out or is cancelled ends its span with the answer", async () => {
  await withScene(async ({ recorder, client, plain }) => {
    await assertRejects(() => client.call("slow"));
    const [served] = recorder.spans(SpanKind.SERVER);
    assertEquals(served?.attributes["rpc.status_code"], "-32002");
    const abort = new AbortController();
    const cancelled = client.call("hang", undefined, { signal: abort.signal });
    await plain.call("echo", []);
    abort.abort();
    await assertRejects(() => cancelled);
    await until(() => recorder.spans(SpanKind.SERVER).length === 3);
    assertEquals(recorder.spans(SpanKind.SERVER)[2]?.attributes["rpc.status_code"], "-32800");
    assertEquals(recorder.spans(SpanKind.CLIENT)[1]?.attributes["error.type"], "AbortError");
  });
});

test("a connection that is lost ends the spans of both ends", async () => {
  await withScene(async ({ recorder, client, plain }) => {
    const lost = assertRejects(() => client.call("hang", {}, { timeoutMs: 0 }));
    await plain.call("echo", []);
    await plain.close();
    await lost;
    await until(() => recorder.spans(SpanKind.SERVER).length === 2);
    for (const kind of [SpanKind.CLIENT, SpanKind.SERVER]) {
      const span = recorder.spans(kind).find(({ name }) => name === "hang");
      const { "error.type": type, "rpc.status_code": code } = span?.attributes ?? {};
      assertEquals([type, code], ["RpcConnectionError", undefined]);
    }
  });
});

test("notifications and each call of a batch have spans; params by position carry no trace", async () => {
  await withScene(async ({ recorder, client, seen }) => {
    client.notify("echo", { n: 0 });
    await client.batch((batch) => [
      batch.call("echo", { n: 1 }),
      batch.call("echo", [2]),
      batch.call("echo"),
    ]);
    assertEquals(seen, [{ n: 0 }, { n: 1 }, [2], undefined]);
    const called = recorder.spans(SpanKind.CLIENT);
    const served = recorder.spans(SpanKind.SERVER);
    assertEquals([called.length, served.length], [4, 4]);
    const ids = new Set(called.map((span) => span.spanContext().spanId));
    assertEquals(served.map((span) => ids.has(span.parentSpanContext?.spanId ?? "")), [
      true,
      true,
      false,
      false,
    ]);
    assertEquals(served.map(({ attributes }) => "jsonrpc.request.id" in attributes), [
      false,
      true,
      true,
      true,
    ]);
  });
});

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`;

test("a POST belongs to the trace of its headers, or of its params", async () => {
  await withScene(async ({ recorder, url, seen }) => {
    const post = async (params: object) =>
      await (await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", traceparent: PARENT },
        body: JSON.stringify({ jsonrpc: "2.0", id: "a", method: "echo", params }),
      })).json();
    const other = PARENT.replace(TRACE, TRACE.replace("0af", "fff"));
    await post({ n: 1 });
    await post({ n: 2, _meta: { traceparent: other, tracestate: "a=1", more: true } });
    // What is no trace is the program's own.
    await post({ n: 3, _meta: { traceparent: "nonsense" } });
    await post({ n: 4, _meta: "text" });
    assertEquals(seen, [{ n: 1 }, { n: 2, _meta: { more: true } }, { n: 3 }, {
      n: 4,
      _meta: "text",
    }]);
    const served = recorder.spans(SpanKind.SERVER);
    const traces = served.map((span) => span.spanContext().traceId);
    assertEquals([traces[0], traces[1], traces[3]], [TRACE, `fff${TRACE.slice(3)}`, TRACE]);
    assertNotEquals(traces[2], TRACE);
    assertEquals(served[0]?.attributes["network.protocol.name"], "http");
    assertEquals(served[0]?.attributes["jsonrpc.request.id"], "a");
  });
});

test("trustCallers: false begins a trace of its own, with a link to the caller's", async () => {
  await withScene(async ({ recorder, client }) => {
    await client.call("echo", { n: 1 });
    const [called] = recorder.spans(SpanKind.CLIENT);
    const [served] = recorder.spans(SpanKind.SERVER);
    assertEquals(served?.parentSpanContext, undefined);
    assertNotEquals(served?.spanContext().traceId, called?.spanContext().traceId);
    assertEquals(served?.links.map(({ context }) => context.spanId), [
      called?.spanContext().spanId,
    ]);
  }, { trustCallers: false });
});

test("propagate: false leaves params as they are", async () => {
  await withScene(
    async ({ recorder, client, seen }) => {
      await client.call("echo", { n: 1 });
      assertEquals(seen, [{ n: 1 }]);
      const [called] = recorder.spans(SpanKind.CLIENT);
      assertNotEquals(
        recorder.spans(SpanKind.SERVER)[0]?.spanContext().traceId,
        called?.spanContext().traceId,
      );
    },
    {},
    { propagate: false },
  );
});

test("metrics: how long calls took, by method and error, and what the server counts", async () => {
  await withScene(
    async ({ recorder, client, plain }) => {
      await client.call("echo", [1]);
      await client.call("echo", [2]);
      await client.call("refuse").catch(() => {});
      for (const n of [1, 2]) await client.call(`made up ${n}`).catch(() => {});
      await plain.subscribe("clock", () => {});
      const metrics = await recorder.metrics();
      for (const side of ["client", "server"]) {
        const points = metrics.get(`rpc.${side}.call.duration`) ?? [];
        const counts = points.map(({ attributes, value }) => {
          const { count, buckets } = value as { count: number; buckets: { boundaries: number[] } };
          assertEquals([buckets.boundaries[0], buckets.boundaries.at(-1)], [0.005, 10]);
          return [attributes, count];
        }).filter(([attributes]) =>
          (attributes as Record<string, unknown>)["rpc.method"] !== "subscribe"
        );
        const system = { "rpc.system.name": "jsonrpc", where: "here" };
        const failed = (code: string) => ({ "error.type": code, "rpc.status_code": code });
        assertEquals(counts, [
          [{ ...system, "rpc.method": "echo" }, 2],
          [{ ...system, ...failed("402"), "rpc.method": "refuse" }, 1],
          [{ ...system, ...failed("-32601"), "rpc.method": "_OTHER" }, 2],
        ]);
      }
      const value = (name: string) => metrics.get(`jsonrpc.server.${name}`)?.[0]?.value;
      assertEquals([value("connections"), value("subscriptions"), value("topics")], [1, 1, 1]);
      const events = ["published", "delivered", "dropped", "gaps"];
      assertEquals(events.map((name) => value(`events.${name}`)), [0, 0, 0, 0]);
      assertEquals(metrics.get("jsonrpc.server.connections")?.[0]?.attributes, { where: "here" });
      assert(Number(value("memory")) > 0);
      assertEquals([value("requests"), value("calls"), value("pending_calls")], [0, 0, 0]);
      assertEquals(value("buffered"), 0);
    },
    { attributes: { where: "here" } },
    { attributes: { where: "here" }, url: undefined as never },
  );
});

test("a server that is closed is observed no more", async () => {
  const recorder = new Recorder();
  const plugin = otel(recorder.options);
  await using rpc = new JsonRpc({ logger: silentLog() });
  let asked = 0;
  plugin.onMount?.({ stats: () => (asked++, rpc.stats()), hasMethod: () => true });
  await recorder.metrics();
  await plugin.dispose?.();
  await recorder.metrics();
  assertEquals(asked, 1);
  await recorder.end();
});

test("without an SDK calls go on as before, and synchronous handlers stay synchronous", async () => {
  const thenable: boolean[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .use((_request, next) => {
      const result = next();
      thenable.push(result instanceof Promise);
      return result;
    })
    .use(otel())
    .method("echo", (params: { a: number }) => params)
    .method("ask", (_params, request) => request.confirm("Really?"));
  await using server = await serveHere(rpc);
  const plain = await connect(server.ws);
  const client = withMiddleware(plain, [otelClient()], { incoming: [otelIncoming()] });
  const asked: unknown[] = [];
  client.method("confirm", (params) => asked.push(params) > 0);
  assertEquals(await client.call("ask"), true);
  assertEquals(asked, [{ message: "Really?" }]);
  thenable.length = 0;
  assertEquals(await client.call("echo", { a: 1 }), { a: 1 });
  // The client of another program may have an SDK.
  const carrying = { a: 2, _meta: { traceparent: PARENT } };
  assertEquals(await client.call("echo", carrying), { a: 2 });
  assertEquals(thenable, [false, false]);
  await client.close();
});
