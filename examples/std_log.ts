/**
 * The server writes its log through `@std/log`. LogTape, pino and `console` fit as well: every logger
 * with `debug`, `info`, `warn` and `error`.
 *
 *     deno run -A examples/std_log.ts
 *
 * Then call the method that fails: the caller gets "Internal error", and the log says why.
 *
 *     curl -H 'content-type: application/json' http://localhost:8080 \
 *       -d '{"jsonrpc": "2.0", "method": "fail", "id": 1}'
 */
import { ConsoleHandler, getLogger, setup } from "@std/log";
import { JsonRpc } from "@x/jsonrpc";

setup({
  handlers: { console: new ConsoleHandler("DEBUG") },
  loggers: { rpc: { level: "DEBUG", handlers: ["console"] } },
});

const port = 8080;
const hosts = [`localhost:${port}`, `127.0.0.1:${port}`];

const rpc = new JsonRpc({ hosts, logger: getLogger("rpc") })
  .method("fail", () => {
    throw new Error("the reason, for the log alone");
  });

Deno.serve({ port, hostname: "127.0.0.1", onListen: announce }, rpc.fetch);

function announce(): void {
  console.log(`LISTENING http://127.0.0.1:${port}`);
}
