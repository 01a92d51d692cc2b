/**
 * A server that is only a default export: `bun` and `deno serve` do the rest.
 *
 *     bun examples/ping_default_export.ts
 *     deno serve -A examples/ping_default_export.ts
 */
import { JsonRpc } from "@x/jsonrpc";

export default new JsonRpc().method("ping", () => "pong");
