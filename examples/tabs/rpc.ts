/**
 * The methods and topics of the counter. The page imports their types.
 */
import { JsonRpc } from "@x/jsonrpc";

let count = 0;

/** The server of the counter. */
export const rpc = new JsonRpc()
  .topic<"count", number>("count", { retain: true })
  .method("more", () => publish(++count))
  .method("connections", (): number => connections());

function connections(): number {
  return rpc.connections.size;
}

function publish(value: number): void {
  rpc.publish("count", value);
}

publish(count);
