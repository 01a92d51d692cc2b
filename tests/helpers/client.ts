/**
 * A client in the process of the test.
 */
import { connect } from "@x/jsonrpc";
import type { ClientOptions, JsonRpc, JsonRpcClient } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { Api } from "../../src/core/api.ts";

/** Connects a client to a server without a network, over linked sockets. */
export function pair<A extends Api>(
  rpc: JsonRpc<A>,
  options: ClientOptions = {},
): Promise<JsonRpcClient<A>> {
  const [near, far] = linkedSockets();
  rpc.attach(far);
  return connect<JsonRpc<A>>(near, options) as unknown as Promise<JsonRpcClient<A>>;
}
