/**
 * Programs may register their SDK after they have made servers and clients.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { metrics, propagation, SpanKind, trace } from "@opentelemetry/api";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { withMiddleware } from "@x/jsonrpc/middleware";
import { otel, otelClient } from "@x/jsonrpc/otel";
import { testClient } from "@x/jsonrpc/testing";
import { silentLog } from "../helpers/log.ts";
import { Recorder } from "./recorder.ts";

interface Scene {
  readonly recorder: Recorder;
  readonly rpc: JsonRpc;
  readonly client: JsonRpcClient;
}

/** A server and a client that were made, and have talked, before there is an SDK. */
async function withScene(use: (scene: Scene) => Promise<void>): Promise<void> {
  const recorder = new Recorder();
  const rpc: JsonRpc = new JsonRpc({ logger: silentLog() }).use(otel())
    .method("add", ({ a, b }: { a: number; b: number }) => a + b) as unknown as JsonRpc;
  const plain = await testClient(rpc) as unknown as JsonRpcClient;
  const client = withMiddleware(plain, [otelClient()]);
  try {
    assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
    await use({ recorder, rpc, client });
  } finally {
    trace.disable();
    metrics.disable();
    propagation.disable();
    await plain.close();
    await rpc.close();
    await recorder.end();
  }
}

/** How many calls a histogram has counted. */
function counted(points: readonly { value: unknown }[] | undefined): number {
  return points?.reduce((sum, { value }) => sum + (value as { count: number }).count, 0) ?? 0;
}

test("an SDK that is registered after the server and the client records their next call", async () => {
  await withScene(async ({ recorder, client }) => {
    trace.setGlobalTracerProvider(recorder.options.tracerProvider);
    metrics.setGlobalMeterProvider(recorder.options.meterProvider);
    propagation.setGlobalPropagator(recorder.options.propagator);
    assertEquals(await client.call("add", { a: 3, b: 4 }), 7);
    const [called] = recorder.spans(SpanKind.CLIENT);
    const [served] = recorder.spans(SpanKind.SERVER);
    assertEquals([called?.name, served?.name], ["add", "add"]);
    assertEquals(served?.parentSpanContext?.spanId, called?.spanContext().spanId);
    const recorded = await recorder.metrics();
    for (const side of ["server", "client"]) {
      assertEquals(counted(recorded.get(`rpc.${side}.call.duration`)), 1, side);
    }
    assertEquals(recorded.get("jsonrpc.server.connections")?.[0]?.value, 1);
  });
});

test("an SDK that takes only metrics, and is registered later, gets them after a few calls", async () => {
  await withScene(async ({ recorder, client }) => {
    metrics.setGlobalMeterProvider(recorder.options.meterProvider);
    for (let n = 0; n < 20; n++) assertEquals(await client.call("add", { a: n, b: 1 }), n + 1);
    const recorded = await recorder.metrics();
    for (const side of ["server", "client"]) {
      const count = counted(recorded.get(`rpc.${side}.call.duration`));
      assert(count > 0 && count <= 20, `${side}: ${count}`);
    }
    assertEquals(recorder.spans().length, 0);
  });
});

test("a server without calls is observed from its next connection on", async () => {
  await withScene(async ({ recorder, rpc }) => {
    metrics.setGlobalMeterProvider(recorder.options.meterProvider);
    await using _another = await testClient(rpc);
    assertEquals((await recorder.metrics()).get("jsonrpc.server.connections")?.[0]?.value, 2);
  });
});

test("a server that was closed before an SDK is registered is not observed", async () => {
  await withScene(async ({ recorder, rpc, client }) => {
    await client.close();
    await rpc.close();
    metrics.setGlobalMeterProvider(recorder.options.meterProvider);
    assertEquals((await recorder.metrics()).get("jsonrpc.server.connections"), undefined);
  });
});
