/**
 * A shared worker that keeps one connection for all tabs of a test.
 */
import { shareConnection } from "@x/jsonrpc/shared_worker";

shareConnection(`${location.origin.replace("http", "ws")}/rpc`, {
  maxMessageBytes: 2 ** 24,
  reconnect: { minMs: 20, maxMs: 100 },
});
