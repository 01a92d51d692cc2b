/**
 * A server beside the routes of a Fastify app.
 *
 *     deno run -A examples/fastify_mount.ts
 *     node --import ./tools/node.ts examples/fastify_mount.ts
 */
import process from "node:process";
import fastify from "fastify";
import { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong");

const app = fastify();
app.get("/", () => "The RPC server is at /rpc");
await app.register((scope, _options, done) => {
  // Fastify must leave the body to the handler.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null));
  const handle = requestHandler(rpc);
  scope.all("/rpc", (request, reply) => {
    reply.hijack();
    return handle(request.raw, reply.raw);
  });
  done();
});
app.server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" }));

await app.listen({ port, host: hostname });
console.log(`LISTENING http://${hostname}:${port}`);
