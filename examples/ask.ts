/**
 * The server calls its client: a method asks the caller before it acts, and reports its progress.
 *
 *     deno run -A examples/ask.ts
 */
import process from "node:process";
import { connect, JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("clean_up", async ({ files }: { files: string[] }, request) => {
    const kept: string[] = [];
    for (const [index, file] of files.entries()) {
      const sure = await request.call<boolean>("may_delete", { file });
      if (!sure) kept.push(file);
      request.progress(`${index + 1} of ${files.length}`);
    }
    return kept;
  });

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

// The client; in your project it is another program.
const client = await connect<typeof rpc>(`ws://${hostname}:${port}`);
client.method("may_delete", ({ file }: { file: string }) => {
  console.log("The server asks for", file);
  return file.endsWith(".tmp");
});
const files = ["letter.txt", "old.tmp"];
const kept = await client.call("clean_up", { files }, { onProgress: console.log });
console.log("Kept:", kept);
