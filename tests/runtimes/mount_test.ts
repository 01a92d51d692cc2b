import { assertEquals, assertRejects } from "@std/assert";
import { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { etag } from "hono/etag";
import { secureHeaders } from "hono/secure-headers";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import { upgradeHandler } from "@x/jsonrpc/node";
import { rawRequest } from "../helpers/raw_client.ts";
import type { RawResponse } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalApp } from "../helpers/server.ts";
import { freePort } from "../helpers/ports.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import { needs } from "../helpers/needs.ts";

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `a Hono app on ${name} mounts the server beside its routes, under its middleware`,
    await needs(name),
    async () => {
      const PORT = String(await freePort());
      const server = await spawnServer(name, "examples/hono_mount.ts", [], { PORT });
      try {
        const home = await fetch(server.url);
        assertEquals(await home.text(), "The RPC server is at /rpc");
        assertEquals(home.headers.get("x-served-by"), "hono");

        const posted = await post(`${server.url}/rpc`);
        assertEquals(await posted.json(), { jsonrpc: "2.0", result: "pong", id: 1 });
        assertEquals(posted.headers.get("x-served-by"), "hono");

        await assertPong(`${server.url}/rpc`);
        const foreign = await upgrade(server.url, "/rpc", { origin: "https://evil.example" });
        assertEquals(foreign.status, 403);
        assertEquals(foreign.headers.get("x-served-by"), "hono");
      } finally {
        await server.stop();
      }
    },
  );
}

for (const app of ["express", "fastify", "koa", "http"]) {
  for (const name of ["deno", "bun", "node"] as const) {
    test(
      `examples/${app}_mount.ts serves methods beside its own routes on ${name}, with all checks`,
      await needs(name),
      async () => {
        const PORT = String(await freePort());
        const server = await spawnServer(name, `examples/${app}_mount.ts`, [], { PORT });
        try {
          const home = await fetch(server.url);
          assertEquals(await home.text(), "The RPC server is at /rpc");
          await assertPong(`${server.url}/rpc`);
          const headers = { origin: "https://evil.example" };
          assertEquals((await upgrade(server.url, "/rpc", headers)).status, 403);
          const foreign = await post(`${server.url}/rpc`, headers);
          assertEquals(foreign.status, 403);
          await foreign.body?.cancel();
        } finally {
          await server.stop();
        }
      },
    );
  }
}

test("upgradeHandler() leaves upgrades at other paths to other listeners", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong");
  const server = createServer();
  server.on("upgrade", upgradeHandler(rpc, { path: "/rpc" }));
  server.on("upgrade", (request, socket) => {
    if (request.url !== "/rpc?a=1") socket.end("HTTP/1.1 418 Teapot\r\nconnection: close\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  assertEquals((await upgrade(url, "/other")).status, 418);
  const client = await connect(`${url.replace("http", "ws")}/rpc?a=1`);
  assertEquals(await client.call("ping"), "pong");
  await rpc.close();
  await client.close();
  await new Promise((resolve) => server.close(resolve));
});

test("a Hono app may replace the response to an upgrade", async () => {
  const layers: Record<string, MiddlewareHandler> = {
    cors: cors({ origin: "https://app.example" }),
    secureHeaders: secureHeaders(),
    compress: compress(),
    etag: etag(),
    "header set before": async (c, next) => {
      c.header("x-served-by", "hono");
      await next();
    },
    "header set on the response before": async (c, next) => {
      c.res.headers.set("x-served-by", "hono");
      await next();
    },
    "response copied": async (c, next) => {
      await next();
      const { status, headers, body } = c.res;
      // Standard responses cannot have the status of an upgrade.
      if (status >= 200) c.res = new Response(body, { status, headers });
    },
  };
  for (const [name, layer] of Object.entries(layers)) {
    const rpc = new JsonRpc().method("ping", () => "pong");
    const app = new Hono().use(layer).all("/rpc", (c) => rpc.fetch(c.req.raw, c.env));
    await using server = await serveHere(mounted(rpc, app.fetch));
    await assertPong(`${server.url}/rpc`).catch((error) => {
      throw new Error(`Under ${name}`, { cause: error });
    });
  }
});

test("a Hono app may keep the server behind a check of its own", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong");
  const app = new Hono()
    .use("/rpc", async (c, next) => {
      if (c.req.query("key") !== "open sesame") return c.text("Who are you?", 401);
      await next();
    })
    .all("/rpc", (c) => rpc.fetch(c.req.raw, c.env));
  await using server = await serveHere(mounted(rpc, app.fetch));
  await assertPong(`${server.url}/rpc?key=open+sesame`);
  await assertRejects(() => connect(`${server.ws}/rpc`), RpcConnectionError);
  assertEquals((await upgrade(server.url, "/elsewhere")).status, 404);
  assertEquals((await post(`${server.url}/rpc`)).status, 401);
  assertEquals(rpc.connections.size, 0);
});

test("a plain fetch routes to the server and to other handlers", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong");
  const routed = mounted(rpc, (request, host) => {
    const { pathname } = new URL(request.url);
    return pathname === "/rpc" ? rpc.fetch(request, host) : new Response(`Hello ${pathname}`);
  });
  await using server = await serveHere(routed);
  assertEquals(await (await fetch(`${server.url}/there`)).text(), "Hello /there");
  await assertPong(`${server.url}/rpc`);
  await assertRejects(() => connect(`${server.ws}/there`), RpcConnectionError);
  const read = await fetch(`${server.url}/rpc`);
  assertEquals(read.status, 405);
  await read.body?.cancel();
});

test("two servers may share a port, each with its own connections and limits", async () => {
  const public_ = new JsonRpc({ maxMessageBytes: 1000 }).method("ping", () => "pong");
  const private_ = new JsonRpc().method("ping", () => "private pong");
  const routed = mounted(public_, (request, host) => {
    const { pathname } = new URL(request.url);
    return (pathname === "/private" ? private_ : public_).fetch(request, host);
  });
  await using server = await serveHere(routed);
  const client = await connect(`${server.ws}/private`);
  assertEquals(await client.call("ping"), "private pong");
  assertEquals([public_.connections.size, private_.connections.size], [0, 1]);
  await assertPong(server.url);
  await client.close();
});

/** What is served: the server's `websocket` is what Bun needs, its `close` ends the test. */
function mounted(rpc: JsonRpc, fetch: LocalApp["fetch"]): LocalApp {
  return { fetch, websocket: rpc.websocket, close: () => rpc.close() };
}

async function assertPong(url: string): Promise<void> {
  for (const target of [url, url.replace("http:", "ws:")]) {
    const client = await connect(target);
    assertEquals(await client.call("ping"), "pong");
    await client.close();
  }
}

/** Asks for a WebSocket, in words: `fetch` cannot. */
function upgrade(
  url: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawResponse> {
  return rawRequest(url, {
    path,
    headers: {
      connection: "Upgrade, close",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    },
  });
}

function post(url: string, more: Readonly<Record<string, string>> = {}): Promise<Response> {
  const headers = { "content-type": "application/json", ...more };
  const body = JSON.stringify({ jsonrpc: "2.0", method: "ping", id: 1 });
  return fetch(url, { method: "POST", headers, body });
}
