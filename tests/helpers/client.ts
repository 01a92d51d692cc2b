/**
 * A client in the process of the test.
 */
import { connect } from "@x/jsonrpc";
import type { ClientOptions, JsonRpc, JsonRpcClient } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { Context, Offer } from "../../src/core/api.ts";

/** Connects a client to a server without a network, over linked sockets. */
export function pair<Parts, C extends Context>(
  rpc: JsonRpc<Parts, C>,
  options: ClientOptions = {},
): Promise<JsonRpcClient<Offer<Parts, C>>> {
  const [near, far] = linkedSockets();
  rpc.attach(far);
  return connect(near, options) as unknown as Promise<JsonRpcClient<Offer<Parts, C>>>;
}
