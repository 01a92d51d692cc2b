/**
 * What both ends record of a call.
 *
 * @module
 */

import {
  createNoopMeter,
  metrics,
  propagation as globalPropagation,
  ProxyTracerProvider,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type {
  Attributes,
  Context,
  Histogram,
  Meter,
  MeterProvider,
  Span,
  SpanOptions,
  TextMapPropagator,
  Tracer,
  TracerProvider,
} from "@opentelemetry/api";
import { RpcError } from "../protocol/errors.ts";

/** Where spans and metrics go, and what is added to them. */
export interface OtelOptions {
  /** Gets the spans. @default {the provider that the program has registered} */
  readonly tracerProvider?: TracerProvider;
  /** Gets the metrics. @default {the provider that the program has registered} */
  readonly meterProvider?: MeterProvider;
  /** Writes traces into calls, and reads them. @default {the propagator that the program has registered} */
  readonly propagator?: TextMapPropagator;
  /** Attributes for all spans and metrics, such as which of several servers this is. */
  readonly attributes?: Attributes;
}

/** The tracer, meter and propagator of one end. */
export class Telemetry {
  /** Writes traces into calls, and reads them. */
  readonly propagator: Pick<TextMapPropagator, "inject" | "extract" | "fields">;
  readonly meter: Meter;
  /** Attributes for all spans and metrics. */
  readonly attributes: Attributes;
  readonly #hasMeter: boolean;
  readonly #hasTracer: boolean;
  readonly #kind: SpanKind;
  readonly #tracer: Tracer;
  readonly #duration: Histogram;

  /**
   * @param side Which end this is.
   * @param options Where spans and metrics go.
   */
  constructor(side: "server" | "client", options: OtelOptions) {
    const { attributes = {}, meterProvider = metrics, propagator = globalPropagation } = options;
    const { tracerProvider = trace } = options;
    this.propagator = propagator;
    this.attributes = attributes;
    this.meter = meterProvider.getMeter(SCOPE, undefined, { schemaUrl: SCHEMA });
    this.#tracer = tracerProvider.getTracer(SCOPE, undefined, { schemaUrl: SCHEMA });
    this.#hasMeter = this.meter.constructor !== createNoopMeter().constructor;
    this.#hasTracer = options.tracerProvider !== undefined;
    this.#kind = side === "server" ? SpanKind.SERVER : SpanKind.CLIENT;
    const direction = side === "server" ? "incoming" : "outgoing";
    this.#duration = this.meter.createHistogram(`rpc.${side}.call.duration`, {
      description: `Measures the duration of an ${direction} Remote Procedure Call (RPC).`,
      unit: "s",
      advice: { explicitBucketBoundaries: SECONDS },
    });
  }

  /** Whether nothing is recorded, because the program has registered no SDK. */
  get isOff(): boolean {
    if (this.#hasMeter || this.#hasTracer) return false;
    const provider = trace.getTracerProvider();
    // Programs may register theirs later.
    return provider instanceof ProxyTracerProvider && provider.getDelegate() === NO_TRACER_PROVIDER;
  }

  /**
   * Begins to record a call.
   *
   * @param name The method's name.
   * @param parent The context that the call is made in.
   * @param options More attributes and links, and whether the name is one of few: those that callers make
   * up must be no names of spans, nor attributes of metrics.
   */
  begin(
    name: string,
    parent: Context,
    options: Pick<SpanOptions, "attributes" | "links"> & { readonly isKnown?: boolean },
  ) {
    const { isKnown = true, ...spanOptions } = options;
    const method = isKnown ? name : UNKNOWN;
    const attributes = {
      ...{ "rpc.system.name": "jsonrpc", "rpc.method": method, "jsonrpc.protocol.version": "2.0" },
      ...!isKnown && { "rpc.method_original": cut(name) },
      ...this.attributes,
      ...options.attributes,
    };
    const span = this.#tracer.startSpan(
      isKnown ? name : "jsonrpc",
      { ...spanOptions, kind: this.#kind, attributes },
      parent,
    );
    return new RecordedCall(method, span, (seconds, attributes) =>
      this.#duration.record(
        seconds,
        { "rpc.system.name": "jsonrpc", ...this.attributes, ...attributes },
        trace.setSpan(parent, span),
      ));
  }
}

/** One call that is recorded. */
export class RecordedCall {
  readonly span: Span;
  readonly #method: string;
  readonly #record: (seconds: number, attributes: Attributes) => void;
  readonly #start: number = performance.now();
  #ended = false;

  /**
   * @param method The method's name.
   * @param span Its span.
   * @param record Records its duration.
   */
  constructor(
    method: string,
    span: Span,
    record: (seconds: number, attributes: Attributes) => void,
  ) {
    this.#method = method;
    this.span = span;
    this.#record = record;
  }

  /** The call has succeeded. */
  succeed(): void {
    this.#end({ "rpc.method": this.#method });
  }

  /**
   * The call has failed.
   *
   * @param error Why.
   * @param code The code of the error that the caller got, if it got one.
   */
  fail(error: unknown, code: number | undefined): void {
    if (this.#ended) return;
    const { span } = this;
    const failure = failureAttributes(error, code);
    // What callers made up must not become a name, of which there are to be few.
    const isUnknown = code === METHOD_NOT_FOUND;
    if (isUnknown) {
      span.updateName("jsonrpc");
      if (this.#method !== UNKNOWN) span.setAttribute("rpc.method_original", cut(this.#method));
    }
    const method = isUnknown ? UNKNOWN : this.#method;
    span.setAttributes({ ...failure, "rpc.method": method });
    span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
    if (error instanceof Error && !(error instanceof RpcError)) span.recordException(error);
    this.#end({ ...failure, "rpc.method": method });
  }

  #end(attributes: Attributes): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#record((performance.now() - this.#start) / 1000, attributes);
    this.span.end();
  }
}

function failureAttributes(error: unknown, code: number | undefined): Attributes {
  if (code !== undefined) return { "error.type": String(code), "rpc.status_code": String(code) };
  return { "error.type": error instanceof Error ? error.name : "_OTHER" };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const NO_TRACER_PROVIDER = new ProxyTracerProvider().getDelegate();
/** Cuts a text that the other side has chosen: spans wait in memory until they are exported. */
export function cut(text: string): string {
  return text.slice(0, 256);
}

const UNKNOWN = "_OTHER";
const METHOD_NOT_FOUND = -32601;
const SCOPE = "@x/jsonrpc";
const SCHEMA = "https://opentelemetry.io/schemas/1.45.0";
// The boundaries that the conventions name.
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
