/**
 * Calls of the server to its clients, as an SDK of OpenTelemetry receives them.
 */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { connect, JsonRpc, RpcError } from "@x/jsonrpc";
import type { Connection, JsonRpcClient } from "@x/jsonrpc";
import { withMiddleware } from "@x/jsonrpc/middleware";
import { otel, otelClient, otelIncoming } from "@x/jsonrpc/otel";
import type { OtelServerOptions } from "@x/jsonrpc/otel";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { Recorder } from "./recorder.ts";

interface Scene {
  readonly recorder: Recorder;
  /** The client with telemetry. */
  readonly client: JsonRpcClient;
  /** The server's end of the connection. */
  readonly connection: Connection;
  /** What the handlers of the client got as params. */
  readonly seen: unknown[];
  /** Reads the span of a method. */
  span(kind: SpanKind, method: string): ReadableSpan;
}

/** A server that asks its client back, on a real socket. Both are recorded. */
async function withScene(
  use: (scene: Scene) => Promise<void>,
  options: OtelServerOptions = {},
): Promise<void> {
  const recorder = new Recorder();
  const seen: unknown[] = [];
  let opened: Connection | undefined;
  const rpc = new JsonRpc({ logger: silentLog() })
    .use(otel({ ...recorder.options, ...options }))
    .use({ name: "opened", onOpen: (connection) => void (opened = connection) })
    .method("format", (_params, request) => request.confirm("Really?"))
    .method("ask", ([method]: [string], request) => request.call(method, { n: 1 }))
    .method("tell", (_params, request) => request.notify("note", { n: 2 }));
  await using served = await serveHere(rpc);
  const plain = await connect(served.ws, { logger: silentLog() }) as unknown as JsonRpcClient;
  const client = withMiddleware(plain, [otelClient(recorder.options)], {
    incoming: [otelIncoming(recorder.options)],
  });
  client.method("confirm", async (params) => {
    seen.push(params);
    await Promise.resolve();
    recorder.options.tracerProvider.getTracer("test").startSpan("inside").end();
    return true;
  });
  client.method("note", (params) => void seen.push(params));
  client.method("refuse", () => {
    throw new RpcError(402, "Not enough money");
  });
  client.method("hang", () => new Promise(() => {}));
  const span = (kind: SpanKind, method: string): ReadableSpan => {
    const found = recorder.spans(kind).find(({ name }) => name === method);
    if (found === undefined) throw new Error(`There is no span of ${method}`);
    return found;
  };
  try {
    await plain.connect();
    await until(() => opened !== undefined);
    await use({ recorder, client, connection: opened as Connection, seen, span });
  } finally {
    await plain.close();
    await recorder.end();
  }
}

test("a call back belongs to the trace of the call that it answers, at both ends", async () => {
  await withScene(async ({ recorder, client, seen, span }) => {
    assertEquals(await client.call("format", {}), true);
    const chain = [
      span(SpanKind.CLIENT, "format"),
      span(SpanKind.SERVER, "format"),
      span(SpanKind.CLIENT, "confirm"),
      span(SpanKind.SERVER, "confirm"),
      span(SpanKind.INTERNAL, "inside"),
    ];
    const [outermost] = chain as [ReadableSpan];
    for (const [index, { parentSpanContext, ...each }] of chain.entries()) {
      assertEquals(chain[index]?.spanContext().traceId, outermost.spanContext().traceId);
      assertEquals(
        parentSpanContext?.spanId,
        chain[index - 1]?.spanContext().spanId,
        each.name,
      );
    }
    assertEquals(recorder.spans().length, chain.length);
    // The handler does not see the trace.
    assertEquals(seen, [{ message: "Really?" }]);
    const { "network.peer.address": peer, ...asked } = chain[2]?.attributes ?? {};
    assert(peer === undefined || peer === "127.0.0.1");
    const common = {
      "rpc.system.name": "jsonrpc",
      "rpc.method": "confirm",
      "jsonrpc.protocol.version": "2.0",
      "network.protocol.name": "websocket",
    };
    assertEquals(asked, common);
    assertEquals(chain[3]?.attributes, { ...common, "jsonrpc.request.id": "1" });
  });
});

test("a call outside of any handler carries the trace that it was made in", async () => {
  await withScene(async ({ recorder, connection, span }) => {
    const outer = recorder.options.tracerProvider.getTracer("test").startSpan("outer");
    const result = await context.with(
      trace.setSpan(context.active(), outer),
      () => connection.call("confirm", { message: "?" }),
    );
    assertEquals(result, true);
    const called = span(SpanKind.CLIENT, "confirm");
    const answered = span(SpanKind.SERVER, "confirm");
    assertEquals(called.parentSpanContext?.spanId, outer.spanContext().spanId);
    assertEquals(answered.parentSpanContext?.spanId, called.spanContext().spanId);
  });
});

test("an error of the client ends the spans of both ends with its code", async () => {
  await withScene(async ({ client, connection, recorder, span }) => {
    await assertRejects(() => client.call("ask", ["refuse"]), RpcError, "Not enough money");
    await assertRejects(() => connection.call("no.such.method", {}), RpcError);
    for (const kind of [SpanKind.CLIENT, SpanKind.SERVER]) {
      const { attributes, status } = span(kind, "refuse");
      assertEquals(attributes["rpc.status_code"], "402");
      assertEquals(status.code, SpanStatusCode.ERROR);
    }
    const unknown = recorder.spans(SpanKind.CLIENT).find(({ name }) => name === "jsonrpc");
    assertEquals(unknown?.attributes["rpc.method_original"], "no.such.method");
    const abort = new AbortController();
    const hanging = connection.call("hang", {}, { signal: abort.signal });
    await client.call("tell", []);
    abort.abort();
    await assertRejects(() => hanging);
    await until(() => recorder.spans(SpanKind.SERVER).some(({ name }) => name === "hang"));
    assertEquals(span(SpanKind.CLIENT, "hang").attributes["error.type"], "AbortError");
    assertEquals(span(SpanKind.SERVER, "hang").attributes["rpc.status_code"], "-32800");
  });
});

test("a notification of the server has a span at the client", async () => {
  await withScene(async ({ client, recorder, seen, span }) => {
    await client.call("tell", []);
    await until(() => recorder.spans(SpanKind.SERVER).length === 2);
    assertEquals(seen, [{ n: 2 }]);
    assertEquals("jsonrpc.request.id" in span(SpanKind.SERVER, "note").attributes, false);
  });
});

test("a server that does not trust its callers tells them no trace, unless it is asked to", async () => {
  for (const propagate of [undefined, true]) {
    await withScene(async ({ connection, span }) => {
      await connection.call("confirm", { message: "?" });
      const traces = [SpanKind.CLIENT, SpanKind.SERVER].map((kind) =>
        span(kind, "confirm").spanContext().traceId
      );
      const check = propagate === true ? assertEquals : assertNotEquals;
      check(traces[0], traces[1]);
    }, { trustCallers: false, ...propagate && { propagate } });
  }
});

test("metrics count calls of both directions", async () => {
  await withScene(async ({ client, recorder }) => {
    await client.call("format", {});
    const metrics = await recorder.metrics();
    for (const side of ["client", "server"]) {
      const points = metrics.get(`rpc.${side}.call.duration`) ?? [];
      const methods = points.map(({ attributes }) =>
        (attributes as Record<string, unknown>)["rpc.method"]
      );
      assertEquals(methods.sort(), ["confirm", "format"]);
    }
  });
});
