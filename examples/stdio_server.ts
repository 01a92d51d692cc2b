/**
 * A server on standard input and output, as editors and agents start it. `stdio_client.ts` starts this one.
 *
 *     deno run -A examples/stdio_client.ts
 */
import { JsonRpc } from "@x/jsonrpc";
import { serveStdio } from "@x/jsonrpc/stdio";

export const rpc = new JsonRpc()
  .method("add", ([a, b]: [number, number]) => a + b)
  .method("greet", async ([name]: [string], request) => {
    console.log("greet was called"); // goes to standard error: standard output has the messages
    return await request.confirm(`Is it really ${name}?`) ? `Hello ${name}` : "Hello stranger";
  });

await serveStdio(rpc).closed;
