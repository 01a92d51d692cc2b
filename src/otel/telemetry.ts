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
  /** Attributes for all spans and metrics. */
  readonly attributes: Attributes;
  readonly #side: "server" | "client";
  readonly #options: OtelOptions;
  readonly #kind: SpanKind;
  #tracerProvider: TracerProvider;
  #tracer: Tracer;
  #meterProvider: MeterProvider | undefined;
  // `undefined` while nothing takes metrics.
  #meter: Meter | undefined;
  #duration: Histogram | undefined;
  readonly #observers = new Set<(meter: Meter) => void>();
  #asked = 0;

  /**
   * @param side Which end this is.
   * @param options Where spans and metrics go.
   */
  constructor(side: "server" | "client", options: OtelOptions) {
    const { attributes = {}, propagator = globalPropagation } = options;
    this.propagator = propagator;
    this.attributes = attributes;
    this.#side = side;
    this.#options = options;
    this.#kind = side === "server" ? SpanKind.SERVER : SpanKind.CLIENT;
    this.#tracerProvider = options.tracerProvider ?? trace.getTracerProvider();
    this.#tracer = tracerOf(this.#tracerProvider);
    this.#findMeter();
  }

  /**
   * Whether nothing is recorded, because the program has registered no SDK. It may register one later: the next
   * call is recorded then, or one of the next {@linkcode LOOK_EVERY} if it only takes metrics. This is asked for
   * each call, so it asks the API itself seldom.
   */
  get isOff(): boolean {
    if (this.#meter !== undefined) return false;
    if (isEmpty(this.#tracerProvider) && ++this.#asked % LOOK_EVERY !== 0) return true;
    this.findSdk();
    return this.#meter === undefined && isEmpty(this.#tracerProvider);
  }

  /** Looks for the SDK that the program may have registered since. */
  findSdk(): void {
    if (this.#meter === undefined) this.#findMeter();
    const provider = this.#options.tracerProvider ?? trace.getTracerProvider();
    // Only another copy of the API has another provider: the tracers of ours get the SDK by themselves.
    if (provider === this.#tracerProvider) return;
    this.#tracerProvider = provider;
    this.#tracer = tracerOf(provider);
  }

  /**
   * Observes numbers: with the meter that there is, or with the one that the program registers later.
   *
   * @param observe Is given the meter, once. It returns what stops it.
   * @returns Stops it.
   */
  observe(observe: (meter: Meter) => () => void): () => void {
    let stop = (): void => void this.#observers.delete(observer);
    const observer = (meter: Meter): void => {
      stop = observe(meter);
    };
    if (this.#meter === undefined) this.#observers.add(observer);
    else observer(this.#meter);
    return () => stop();
  }

  #findMeter(): void {
    const provider = this.#options.meterProvider ?? metrics.getMeterProvider();
    if (provider === this.#meterProvider) return;
    this.#meterProvider = provider;
    const meter = provider.getMeter(SCOPE, undefined, { schemaUrl: SCHEMA });
    if (meter.constructor === NO_METER) return;
    this.#meter = meter;
    const direction = this.#side === "server" ? "incoming" : "outgoing";
    this.#duration = meter.createHistogram(`rpc.${this.#side}.call.duration`, {
      description: `Measures the duration of an ${direction} Remote Procedure Call (RPC).`,
      unit: "s",
      advice: { explicitBucketBoundaries: SECONDS },
    });
    for (const observer of this.#observers) observer(meter);
    this.#observers.clear();
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
      this.#duration?.record(
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

function tracerOf(provider: TracerProvider): Tracer {
  return provider.getTracer(SCOPE, undefined, { schemaUrl: SCHEMA });
}

/** Whether a provider is the API's own, and no SDK is behind it. */
function isEmpty(provider: TracerProvider): boolean {
  return provider instanceof ProxyTracerProvider && provider.getDelegate() === NO_TRACER_PROVIDER;
}

/** Cuts a text that the other side has chosen: spans wait in memory until they are exported. */
export function cut(text: string): string {
  return text.slice(0, 256);
}

/** How many calls are made, while nothing is recorded, until the API is asked whether a meter is there. */
const LOOK_EVERY = 16;
const NO_TRACER_PROVIDER = new ProxyTracerProvider().getDelegate();
const NO_METER = createNoopMeter().constructor;
const UNKNOWN = "_OTHER";
const METHOD_NOT_FOUND = -32601;
const SCOPE = "@x/jsonrpc";
const SCHEMA = "https://opentelemetry.io/schemas/1.45.0";
// The boundaries that the conventions name.
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
