/**
 * What a server offers, as an OpenRPC document: the answer of `rpc.discover`.
 *
 * @see {@link https://spec.open-rpc.org}
 *
 * @module
 */

import type { MethodEntry } from "./methods.ts";

/** What an OpenRPC document says of the server as a whole. */
export interface ServerInfo {
  /** The name of what is served. */
  readonly title: string;
  /** The version of what is served. */
  readonly version: string;
  /** What it is for. */
  readonly description?: string;
}

/** Describes methods. Params are known by name where a method declares `names`; types are not. */
export function toOpenRpc(info: ServerInfo, entries: Iterable<MethodEntry>): object {
  const methods = Array.from(entries)
    .filter(({ name }) => name !== "rpc.discover")
    .map(toMethod);
  return { openrpc: "1.3.2", info, methods };
}

function toMethod(entry: MethodEntry): object {
  const { name, summary, description, deprecated, errors, names = [] } = entry;
  return {
    name,
    summary,
    description,
    deprecated,
    paramStructure: "either",
    params: names.map((param) => ({ name: param, schema: {} })),
    result: { name: "result", schema: {} },
    errors,
  };
}
