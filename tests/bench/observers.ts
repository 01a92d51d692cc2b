/**
 * Measures what telemetry and the wire trace cost a call: `observers.ts KIND ROUNDS MS`. Server and
 * client of each variant are in this process and talk over a real WebSocket. The variants take turns, each once in
 * a round, and the last line is JSON: the outcomes of each variant, by round.
 */
import process from "node:process";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { withMiddleware } from "@x/jsonrpc/middleware";
import { otel, otelClient } from "@x/jsonrpc/otel";
import type { OtelOptions } from "@x/jsonrpc/otel";
import { trace } from "@x/jsonrpc/trace";
import type { Trace } from "@x/jsonrpc/trace";
import { serveHere } from "../helpers/server.ts";
import type { Outcome } from "./measure.ts";

/** A server with a client, and what to do after each round. */
interface Variant {
  readonly client: Pick<JsonRpcClient, "call">;
  tidy(): void;
}

type Kind = "telemetry" | "telemetry-sdk" | "trace";
type Counts = Pick<Outcome, "count" | "ms" | "cpuMs">;

const IN_FLIGHT = 16;
const WARM_ROUNDS = 3;
const nothing = () => {};

/** Serves one method to one client. */
async function start(
  mount: (rpc: JsonRpc) => unknown = nothing,
  newTrace?: () => Trace,
): Promise<JsonRpcClient> {
  const options = () => newTrace ? { trace: newTrace() } : {};
  const rpc = new JsonRpc(options());
  mount(rpc);
  rpc.method("add", ({ a, b }: { a: number; b: number }) => a + b);
  const { ws } = await serveHere(rpc);
  return await connect(ws, options()) as unknown as JsonRpcClient;
}

async function withOtel(options: OtelOptions): Promise<JsonRpcClient> {
  const plain = await start((rpc) => rpc.use(otel(options)));
  return withMiddleware(plain, [otelClient(options)]);
}

/** Records all that an SDK can, into memory. */
async function withSdk(): Promise<Variant> {
  const spans = new InMemorySpanExporter();
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const client = await withOtel({
    tracerProvider: new TracerProvider({
      spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
    }),
    meterProvider: new MeterProvider({ readers: [reader] }),
    propagator: new W3CTraceContextPropagator(),
  });
  return { client, tidy: () => spans.reset() };
}

async function plain(client: Promise<JsonRpcClient>): Promise<Variant> {
  return { client: await client, tidy: nothing };
}

/** The variants of each kind. The second is the first once more: it shows how much the figures vary by themselves. */
const VARIANTS: Record<Kind, () => Promise<Variant>[]> = {
  telemetry: () => [plain(start()), plain(start()), plain(withOtel({}))],
  // In a process of its own, since the SDK makes work for the collector of garbage that others would pay.
  "telemetry-sdk": () => [plain(start()), plain(start()), withSdk()],
  trace: () => [
    plain(start()),
    plain(start()),
    plain(start(nothing, () => trace(nothing))),
  ],
};

/** Calls for a while, with a constant number of calls in flight. */
async function measure({ client, tidy }: Variant, ms: number): Promise<Counts> {
  let count = 0;
  const { user, system } = process.cpuUsage();
  const begin = performance.now();
  const work = async (): Promise<void> => {
    while (performance.now() - begin < ms) {
      for (let each = 0; each < 10; each++) {
        if (await client.call("add", { a: 1, b: 2 }) !== 3) throw new Error("Expected 3");
        count++;
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  const used = process.cpuUsage();
  const cpuMs = (used.user + used.system - user - system) / 1000;
  const outcome = { count, ms: performance.now() - begin, cpuMs };
  tidy();
  return outcome;
}

const [, , kind = "telemetry", rounds = "20", ms = "200"] = process.argv;
const variants = await Promise.all(VARIANTS[kind as Kind]());
const outcomes: Counts[][] = variants.map(() => []);
for (let round = -WARM_ROUNDS; round < Number(rounds); round++) {
  // Each variant comes first, second and so on as often as any other.
  for (let turn = 0; turn < variants.length; turn++) {
    const index = (turn + round + WARM_ROUNDS) % variants.length;
    const outcome = await measure(variants[index] as Variant, Number(ms));
    if (round >= 0) outcomes[index]?.push(outcome);
  }
}
console.log(JSON.stringify(outcomes));
process.exit();
