/**
 * A server on standard input and output, with methods that misbehave as programs do. `--stubborn`: it neither
 * ends with its input nor by SIGTERM.
 */
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { serveStdio } from "@x/jsonrpc/stdio";

const rpc = new JsonRpc({ maxMessageBytes: 16 * 1024 * 1024, maxBufferedBytes: 64 * 1024 * 1024 })
  .method("add", ([a, b]: [number, number]) => a + b)
  .method("echo", (params: unknown) => params)
  .method("work", () => {
    for (const end = performance.now() + 0.1; performance.now() < end;);
    return null;
  })
  .method("pid", () => process.pid)
  .method("print", ([text]: [string]) => {
    console.log(text);
    console.info(text);
    process.stdout.write(`${text}\n`);
    return true;
  })
  .method("ask", async ([question]: [string], request) => await request.confirm(question))
  .method("big", ([length]: [number]) => "x".repeat(length))
  .method("later", async ([ms]: [number]) => {
    await new Promise((done) => setTimeout(done, ms));
    return "later";
  })
  .method("wait", () => new Promise(() => {}))
  .method("die", ([code]: [number]) => process.exit(code));

const server = serveStdio(rpc, process.argv.includes("--unread") ? { framing: "newline" } : {});
if (process.argv.includes("--stubborn")) {
  process.on("SIGTERM", () => {});
  setInterval(() => {}, 1000);
}
await server.closed;
