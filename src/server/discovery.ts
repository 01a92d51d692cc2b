/**
 * What a server tells of itself: the names of its methods, and an OpenRPC document.
 *
 * @see {@link https://spec.open-rpc.org}
 *
 * @module
 */

import type { MethodEntry, MethodRegistry } from "./methods.ts";
import { Peer } from "./peer.ts";
import type { Plugin } from "../core/plugin.ts";
import type { RpcRequest } from "../core/request.ts";
import type { Connection } from "../core/connection.ts";
import { jsonSchemaOf, propertyNames } from "../core/schema.ts";

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
 * The methods that tell: `get_methods` and `rpc.discover`, each of what the caller may use.
 *
 * @param methods What there is.
 * @param info What the document says of the whole server.
 */
export function discovery(
  methods: MethodRegistry,
  info: ServerInfo = { title: "JSON-RPC", version: "0" },
): Plugin {
  function visible(connection: Connection): Iterable<MethodEntry> {
    return methods.list(connection, connection instanceof Peer);
  }
  return {
    name: "discovery",
    methods: {
      get_methods: {
        handler: (_: unknown, { connection }: RpcRequest) =>
          Array.from(visible(connection), ({ name }) => name),
      },
      "rpc.discover": {
        handler: (_: unknown, { connection }: RpcRequest) => toOpenRpc(info, visible(connection)),
      },
    },
  };
}

/**
 * Describes methods. The names of params are known where a method or its schema tells them; their
 * types, and that of the result, where the schema's library can say them as JSON Schema.
 */
function toOpenRpc(info: ServerInfo, entries: Iterable<MethodEntry>): object {
  const methods = Array.from(entries)
    .filter(({ name }) => name !== "rpc.discover")
    .map(describe);
  return { openrpc: "1.3.2", info, methods };
}

// Once for each: to say a schema as JSON Schema takes long, and anybody may ask, many times at once.
const descriptions = new WeakMap<MethodEntry, object>();

function describe(entry: MethodEntry): object {
  let description = descriptions.get(entry);
  if (description === undefined) descriptions.set(entry, description = toMethod(entry));
  return description;
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
