/**
 * A trace inside a call: in `params._meta`, as the Model Context Protocol has it.
 *
 * @see {@link https://github.com/modelcontextprotocol/modelcontextprotocol/pull/414 | SEP-414}
 *
 * @module
 */

import type { Context, TextMapGetter } from "@opentelemetry/api";
import type { Telemetry } from "./telemetry.ts";

type Fields = Readonly<Record<string, unknown>>;
type Propagator = Telemetry["propagator"];

/**
 * Writes a trace into params.
 *
 * @returns A copy of the params with the trace; the same params if they are no object, or there is no trace.
 */
export function withTrace(params: unknown, context: Context, propagator: Propagator): unknown {
  if (!isRecord(params)) return params;
  const carrier: Record<string, string> = {};
  propagator.inject(context, carrier, { set: (fields, key, value) => fields[key] = value });
  if (Object.keys(carrier).length === 0) return params;
  const meta = metaOf(params) ?? {};
  return { ...params, _meta: { ...carrier, ...meta } };
}

/** Params without the trace in them, and the fields that hold it. */
export interface CarriedTrace {
  readonly params: unknown;
  readonly carrier: Fields;
}

/**
 * Takes a trace out of params, so that handlers and schemas see what the caller's program has passed.
 *
 * @returns The rest; `undefined` if there is no trace in the params.
 */
export function takeTrace(params: unknown, propagator: Propagator): CarriedTrace | undefined {
  // First what is cheap and true of most calls.
  if (typeof params !== "object" || params === null || !Object.hasOwn(params, "_meta")) {
    return undefined;
  }
  const meta = isRecord(params) ? metaOf(params) : undefined;
  if (meta === undefined) return undefined;
  const fields = [...W3C, ...propagator.fields()];
  if (!fields.some((field) => Object.hasOwn(meta, field))) return undefined;
  const { _meta, ...others } = params as Fields;
  const rest = Object.fromEntries(Object.entries(meta).filter(([key]) => !fields.includes(key)));
  const isEmpty = Object.keys(rest).length === 0;
  return { params: isEmpty ? others : { ...others, _meta: rest }, carrier: meta };
}

/** Reads the fields of a trace out of an object that a peer has sent. */
export const fromFields: TextMapGetter<Fields> = {
  keys: (fields) => Object.keys(fields),
  get: (fields, key) => {
    const value = Object.hasOwn(fields, key) ? fields[key] : undefined;
    return typeof value === "string" ? value : undefined;
  },
};

/** Reads the fields of a trace out of the headers of a request. */
export const fromHeaders: TextMapGetter<Headers> = {
  keys: (headers) => [...headers.keys()],
  get: (headers, key) => headers.get(key) ?? undefined,
};

function metaOf(params: Fields): Fields | undefined {
  const meta = Object.hasOwn(params, "_meta") ? params._meta : undefined;
  return isRecord(meta) ? meta : undefined;
}

/** Whether a value is an object, and no array or instance of a class. */
function isRecord(value: unknown): value is Fields {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

// Fields of SEP-414. A server whose program has registered no propagator takes them out too.
const W3C = ["traceparent", "tracestate", "baggage"];
