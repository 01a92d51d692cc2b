/**
 * Servers that others wrote, in this process, with a `JsonRpc` behind all paths: `node:http`, Express, Fastify and
 * Koa.
 */
import express from "express";
import fastify from "fastify";
import Koa from "koa";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { JsonRpc } from "@x/jsonrpc";
import { requestHandler, upgradeHandler } from "@x/jsonrpc/node";

/** Makes the server of one framework. It does not listen yet. */
export type MakeServer = (rpc: JsonRpc) => Server | Promise<Server>;

/** The frameworks, by their name. */
export const frameworks: Readonly<Record<string, MakeServer>> = {
  "node:http": (rpc) => createServer(requestHandler(rpc)),
  Express(rpc) {
    const app = express();
    app.use(requestHandler(rpc));
    return createServer(app);
  },
  async Fastify(rpc) {
    const app = fastify();
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null));
    const handle = requestHandler(rpc);
    app.all("/*", (request, reply) => {
      reply.hijack();
      return handle(request.raw, reply.raw);
    });
    await app.ready();
    return app.server;
  },
  Koa(rpc) {
    const handle = requestHandler(rpc);
    const app = new Koa();
    app.use(async (context) => {
      context.respond = false;
      await handle(context.req, context.res);
    });
    return createServer(app.callback());
  },
};

/** A framework's server that listens. */
export interface Handlers {
  readonly url: string;
  /** Ends it, and all connections. */
  stop(): Promise<void>;
}

/** Serves a `JsonRpc` through a framework. */
export async function serveThrough(make: MakeServer, rpc: JsonRpc): Promise<Handlers> {
  const server = await make(rpc);
  server.on("upgrade", upgradeHandler(rpc));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      await rpc.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
