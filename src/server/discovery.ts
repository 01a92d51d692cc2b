/**
 * How a server describes itself: `get_methods`, and `rpc.discover` with an OpenRPC document.
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

/** The `info` of the OpenRPC document. */
export interface ServerInfo {
  /** The name of the API. */
  readonly title: string;
  /** The version of the API. */
  readonly version: string;
  /** A description of the API. */
  readonly description?: string;
}

/**
 * Makes the plugin that adds `get_methods` and `rpc.discover`. Both show only methods that the caller may use.
 *
 * @param methods The methods of the server.
 * @param info The `info` of the document.
 * @returns The plugin.
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
 * Builds the document. Params have names if the options or the schema of a method name them. Params and
 * results have a JSON Schema if the schema's library can generate one.
 */
function toOpenRpc(info: ServerInfo, entries: Iterable<MethodEntry>): object {
  const methods = Array.from(entries)
    .filter(({ name }) => name !== "rpc.discover")
    .map(describe);
  return { openrpc: "1.3.2", info, methods };
}

// Cached, because generating JSON Schema is slow and every peer may call `rpc.discover` at any rate.
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
    errors: errors && Object.entries(errors).map(([message, { code }]) => ({ code, message })),
  };
}
