/**
 * An SDK of OpenTelemetry whose exporters keep spans and metrics in memory.
 */
import { context } from "@opentelemetry/api";
import type { SpanKind } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
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
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

/** Where spans and metrics of one test go. */
export class Recorder {
  readonly #spans = new InMemorySpanExporter();
  readonly #metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  readonly #reader = new PeriodicExportingMetricReader({
    exporter: this.#metrics,
    exportIntervalMillis: 3_600_000,
  });
  readonly options = {
    tracerProvider: new TracerProvider({
      spanProcessors: [new SimpleSpanProcessor({ exporter: this.#spans })],
    }),
    meterProvider: new MeterProvider({ readers: [this.#reader] }),
    propagator: new CompositePropagator({
      propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
    }),
  };

  /** The spans of a kind that have ended, in the order of their ends. */
  spans(kind?: SpanKind): ReadableSpan[] {
    return this.#spans.getFinishedSpans().filter((span) =>
      kind === undefined || span.kind === kind
    );
  }

  /** Collects the metrics: the points of each. */
  async metrics(): Promise<Map<string, readonly { attributes: object; value: unknown }[]>> {
    this.#metrics.reset();
    await this.#reader.forceFlush();
    const all = this.#metrics.getMetrics().at(-1)?.scopeMetrics.flatMap(({ metrics }) => metrics);
    return new Map(all?.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints]));
  }

  async end(): Promise<void> {
    await this.#reader.shutdown();
  }
}
