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
import { toOpenRpc } from "./open_rpc.ts";
import type { DiscoverySource } from "./open_rpc.ts";

/**
 * Makes the plugin that adds `get_methods` and `rpc.discover`. Both show only what the caller may use.
 *
 * @param methods The methods of the server.
 * @param source What else the document is made of.
 * @returns The plugin.
 */
export function discovery(methods: MethodRegistry, source: DiscoverySource): Plugin {
  function visible(connection: Connection): MethodEntry[] {
    return [...methods.list(connection, connection instanceof Peer)];
  }
  return {
    name: "discovery",
    methods: {
      get_methods: {
        document: {
          summary: "Lists the methods that you may call",
          params: [],
          result: { type: "array", items: { type: "string" } },
        },
        handler: (_: unknown, { connection }: RpcRequest) =>
          visible(connection).map(({ name }) => name),
      },
      "rpc.discover": {
        handler: (_: unknown, { connection }: RpcRequest) =>
          toOpenRpc(source, visible(connection), connection),
      },
    },
  };
}
