/**
 * The shared worker: it keeps the WebSocket of all tabs. `server.ts` bundles it for browsers.
 *
 *     deno run -A examples/tabs/server.ts
 */
import { shareConnection } from "@x/jsonrpc/shared_worker";

shareConnection(new URL("/rpc", location.href.replace("http", "ws")));
