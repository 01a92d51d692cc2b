/**
 * A shared worker that keeps one connection for all tabs of a test.
 */
import { shareConnection } from "@x/jsonrpc/shared_worker";

const maxBufferedBytes = Number(new URL(location.href).searchParams.get("unread") ?? 2 ** 22);

shareConnection(`${location.origin.replace("http", "ws")}/rpc`, {
  maxBufferedBytes,
  maxMessageBytes: 2 ** 24,
  reconnect: { minMs: 20, maxMs: 100 },
});
