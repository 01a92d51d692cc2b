/**
 * What a server offers, as an OpenRPC document: the answer of `rpc.discover`.
 *
 * @see {@link https://spec.open-rpc.org}
 *
 * @module
 */

import type { MethodEntry } from "./methods.ts";
import { jsonSchemaOf, propertyNames } from "./schema.ts";

/** What an OpenRPC document says of the server as a whole. */
export interface ServerInfo {
  /** The name of what is served. */
  readonly title: string;
  /** The version of what is served. */
  readonly version: string;
  /** What it is for. */
  readonly description?: string;
}

/**
 * Describes methods. The names of params are known where a method or its schema tells them; their
 * types, and that of the result, where the schema's library can say them as JSON Schema.
 */
export function toOpenRpc(info: ServerInfo, entries: Iterable<MethodEntry>): object {
  const methods = Array.from(entries)
    .filter(({ name }) => name !== "rpc.discover")
    .map(toMethod);
  return { openrpc: "1.3.2", info, methods };
}

function toMethod(entry: MethodEntry): object {
  const { name, summary, description, deprecated, errors, params, result } = entry;
  const names = entry.names ?? (params && propertyNames(params)) ?? [];
  const properties = params &&
    jsonSchemaOf(params)?.properties as Record<string, object> | undefined;
  return {
    name,
    summary,
    description,
    deprecated,
    paramStructure: "either",
    params: names.map((param) => ({ name: param, schema: properties?.[param] ?? {} })),
    result: { name: "result", schema: result && jsonSchemaOf(result) || {} },
    errors,
  };
}
