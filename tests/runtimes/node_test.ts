import { request as httpsRequest } from "node:https";
import { connect as dialToStay } from "node:net";
import type { Socket } from "node:net";
import { connect as dialTls } from "node:tls";
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import type { StandardSocket } from "@x/jsonrpc";
import type { ClientCloseEvent } from "@x/jsonrpc/client";
import { serve } from "@x/jsonrpc/node";
import type { NodeServer, ServeOptions } from "@x/jsonrpc/node";
import { Hono } from "hono";
import { WebSocket as WsSocket } from "ws";
import { selfSigned } from "../helpers/certificate.ts";
import {
  dial,
  frameSocket,
  rawPost,
  rawRequest,
  rawUpgrade,
  requestText,
  UPGRADE,
} from "../helpers/raw_client.ts";
import { deferred, quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtimeHere } from "../helpers/runtimes.ts";

const LOOPBACK: ServeOptions = { hostname: "127.0.0.1", port: 0 };

function testServer() {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .method("ping", () => "pong")
    .method("echo", (params: unknown[]) => params)
    .method("wait", () => new Promise<string>(() => {}))
    .topic("clock", { retain: true });
  return { rpc, logger };
}

const wsUrl = ({ url }: { url: string }) => url.replace(/^http/, "ws");

// -- listening --

test("serve() returns the port it got, and the URL", async () => {
  const { rpc } = testServer();
  await using server = await serve(rpc, LOOPBACK);
  assert(server.port > 0);
  assertEquals(server.url, `http://127.0.0.1:${server.port}`);
  for (const url of [server.url, wsUrl(server)]) {
    await using client = await connect<typeof rpc>(url);
    assertEquals(await client.call("echo", ["ä€😀"]), ["ä€😀"]);
  }
});

test("serve() listens on every address by default, also on IPv6", async () => {
  const { rpc } = testServer();
  await using server = await serve(rpc, { port: 0 });
  assertEquals(server.url, `http://localhost:${server.port}`);
  await using six = await serve(rpc, { port: 0, hostname: "::1" });
  assertEquals(six.url, `http://[::1]:${six.port}`);
  for (const url of [`http://127.0.0.1:${server.port}`, six.url]) {
    await using client = await connect<typeof rpc>(url);
    assertEquals(await client.call("ping"), "pong");
  }
});

test("serve() rejects with the system's error when the port is taken", async () => {
  const { rpc } = testServer();
  await using server = await serve(rpc, LOOPBACK);
  const again = serve(rpc, { ...LOOPBACK, port: server.port });
  const error = await assertRejects(() => again, Error);
  assertEquals(error.code, "EADDRINUSE");
  await using client = await connect<typeof rpc>(wsUrl(server));
  assertEquals(await client.call("ping"), "pong");
});

test("serve() accepts anything that has a fetch", async () => {
  const app = { fetch: (request: Request) => new Response(new URL(request.url).pathname) };
  await using server = await serve(app, LOOPBACK);
  assertEquals(await (await fetch(`${server.url}/any`)).text(), "/any");
  assertEquals((await rawUpgrade(server.url)).status, 426);
});

test("serve() accepts frozen options", async () => {
  const { rpc } = testServer();
  await using server = await serve(Object.freeze({ fetch: rpc.fetch }), Object.freeze(LOOPBACK));
  await using client = await connect<typeof rpc>(wsUrl(server));
  assertEquals(await client.call("ping"), "pong");
});

// -- conversations --

test("serve() keeps answers and events of one turn in their order", async () => {
  const { rpc } = testServer();
  rpc.method("burst", (_params: unknown, request) => {
    for (let n = 0; n < 100; n++) {
      rpc.publish("clock", n);
      request.notify("note", [n]);
    }
    return "done";
  });
  await using server = await serve(rpc, LOOPBACK);
  await using client = await connect<typeof rpc>(wsUrl(server));
  const received: unknown[] = [];
  client.method("note", ([n]: [number]) => received.push(n));
  await client.subscribe("clock", (n) => received.push(n));
  await client.call("burst" as "ping").then((result) => received.push(result));
  assertEquals(received, [...Array.from({ length: 100 }, (_, n) => [n, n]).flat(), "done"]);
});

test("serve() carries long messages both ways", async () => {
  const { rpc } = testServer();
  await using server = await serve(rpc, LOOPBACK);
  await using client = await connect<typeof rpc>(wsUrl(server));
  for (const length of [125, 126, 65_535, 65_536, 500_000]) {
    assertEquals(await client.call("echo", ["x".repeat(length)]), ["x".repeat(length)]);
    const text = "€".repeat(length / 4);
    assertEquals(await client.call("echo", [text]), [text]);
  }
});

test("serve() sends one event to many", async () => {
  const { rpc } = testServer();
  await using server = await serve(rpc, LOOPBACK);
  const received: string[] = [];
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => connect<typeof rpc>(wsUrl(server))),
  );
  for (const client of clients) {
    await client.subscribe("clock", (data) => received.push(String(data)));
  }
  assertEquals(rpc.publish("clock", "ä€😀").deliveries, 20);
  await Promise.all(clients.map((client) => client.call("ping")));
  assertEquals(received, Array(20).fill("ä€😀"));
  await Promise.all(clients.map((client) => client.close()));
});

test("serve() closes with 1009 when a message is over maxMessageBytes", async () => {
  const rpc = new JsonRpc({ maxMessageBytes: 1000, logger: silentLog() }).method(
    "ping",
    () => "pong",
  );
  await using server = await serve(rpc, LOOPBACK);
  const socket = new WebSocket(wsUrl(server));
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  const closed = new Promise<number>((resolve) => {
    socket.addEventListener("close", ({ code }) => resolve(code));
  });
  socket.send("x".repeat(1001));
  // Bun's `ws` cuts the connection without a close frame.
  assert([1009, 1006].includes(await closed));
  await until(() => rpc.connections.size === 0);
  await using client = await connect<typeof rpc>(wsUrl(server));
  assertEquals(await client.call("ping"), "pong");
});

// -- refused upgrades --

const refusals: Readonly<
  Record<string, readonly [response: () => Response | Promise<Response>, status: number]>
> = {
  "a page": [() => new Response("hello"), 426],
  "401": [
    () => new Response("who?", { status: 401, headers: { "www-authenticate": "Bearer" } }),
    401,
  ],
  "404": [() => new Response("nothing here", { status: 404 }), 404],
  "503, later": [
    async () => await quietMoment().then(() => new Response("later", { status: 503 })),
    503,
  ],
  "a redirection": [() => Response.redirect("http://other.example/", 302), 302],
  "an empty response": [() => new Response(null, { status: 204 }), 426],
};

for (const [what, [response, status]] of Object.entries(refusals)) {
  test(`serve() answers an upgrade with ${status} when fetch gives ${what}`, async () => {
    await using server = await serve({ fetch: response }, LOOPBACK);
    const answer = await rawUpgrade(server.url);
    const original = await response();
    assertEquals([answer.status, answer.body], [status, await original.text()]);
    for (const [name, value] of original.headers) assertEquals(answer.headers.get(name), value);
    const error = await assertRejects(() => connect(wsUrl(server)), RpcConnectionError);
    assertEquals(error.outcome, "unsent");
  });
}

for (const manner of ["throws", "rejects"]) {
  test(`serve() answers an upgrade with 500 when fetch ${manner}, and goes on`, async () => {
    const { rpc } = testServer();
    let broken = true;
    const fetch: JsonRpc["fetch"] = (request, host) => {
      if (!broken) return rpc.fetch(request, host);
      if (manner === "throws") throw new Error("this text is for the log");
      return Promise.reject(new Error("this text is for the log"));
    };
    await using server = await serve({ fetch }, LOOPBACK);
    const answer = await rawUpgrade(server.url);
    assertEquals([answer.status, answer.body.includes("for the log")], [500, false]);
    broken = false;
    await using client = await connect<typeof rpc>(wsUrl(server));
    assertEquals(await client.call("ping"), "pong");
  });
}

const oddRequests: Readonly<Record<string, Parameters<typeof rawRequest>[1]>> = {
  "an odd Host": { headers: { host: "a b" } },
  "no Host": { headers: { host: undefined } },
  "an odd path": { path: "//[" },
  "a whole URL for a path": { path: "http://other.example/path" },
  "a POST": { method: "POST" },
  "another protocol": { headers: { upgrade: "h2c" } },
};

for (const [what, request] of Object.entries(oddRequests)) {
  test(`serve() goes on after a request for an upgrade with ${what}`, async () => {
    const rpc = new JsonRpc({ maxConnections: 1, logger: silentLog() }).method(
      "ping",
      () => "pong",
    );
    await using server = await serve(rpc, LOOPBACK);
    const headers = { ...UPGRADE, ...request.headers };
    await rawRequest(server.url, { ...request, headers }).catch(() => {});
    await until(() => rpc.connections.size === 0);
    const client = await connect<typeof rpc>(wsUrl(server));
    assertEquals(await client.call("ping"), "pong");
    await client.close();
  });
}

for (const upgrade of ["h2c", "TLS/1.2"]) {
  test(`serve() answers a POST whose Upgrade header names ${upgrade}`, async () => {
    const { rpc } = testServer();
    await using server = await serve(rpc, LOOPBACK);
    const body = '{"jsonrpc":"2.0","method":"echo","params":["ä"],"id":1}';
    const { status, body: answer } = await rawPost(server.url, body, {
      connection: "Upgrade, HTTP2-Settings",
      "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA",
      upgrade,
    });
    assertEquals([status, answer.includes('["ä"]')], [200, true]);
  });
}

// -- close() --

test("close() closes all sockets with 1001, and resolves when everything has ended", async () => {
  const { rpc } = testServer();
  const server = await serve(rpc, LOOPBACK);
  const clients = await Promise.all([1, 2, 3].map(() => connect<typeof rpc>(wsUrl(server))));
  await fetch(server.url).then((response) => response.text());
  const codes = clients.map((client) =>
    new Promise<number>((resolve) => {
      client.addEventListener("close", (event) => resolve((event as ClientCloseEvent).code));
    })
  );
  const waiting = clients.map((client) => client.call("wait").catch(({ outcome }) => outcome));
  await clients[0]?.call("ping");
  await server.close();
  assertEquals(await Promise.all(codes), [1001, 1001, 1001]);
  assertEquals(await Promise.all(waiting), ["unknown", "unknown", "unknown"]);
  assertEquals(rpc.connections.size, 0);
  await assertRejects(() => connect(wsUrl(server)), RpcConnectionError);
  await Promise.all(clients.map((client) => client.close()));
});

test("close() may be called twice, and frees the port", async () => {
  const { rpc } = testServer();
  const first = await serve(rpc, LOOPBACK);
  await Promise.all([first.close(), first.close()]);
  await first.close();
  await using second = await serve(rpc, { ...LOOPBACK, port: first.port });
  assertEquals(second.port, first.port);
});

test("close() called again resolves no sooner than before everything has ended", async () => {
  const { rpc } = testServer();
  const [asked, answer] = [deferred(), deferred()];
  rpc.method("late", () => (asked.resolve(), answer.promise));
  const server = await serve(rpc, LOOPBACK);
  const post = rawPost(server.url, '{"jsonrpc":"2.0","method":"late","id":1}');
  await asked.promise;
  const closed = [server.close(), server.close()];
  assertEquals(await unsettled(closed), [0, 1]);
  answer.resolve();
  await Promise.all(closed);
  assertEquals((await post).status, 200);
});

test("close() is not held up by a peer that does not answer", async () => {
  const { rpc } = testServer();
  const server = await serve(rpc, LOOPBACK);
  const silent = await frameSocket(server.url);
  await until(() => rpc.connections.size === 1);
  await server.close();
  await until(() => rpc.connections.size === 0);
  silent.destroy();
});

test("close() is not held up by a connection on which nothing was asked", async () => {
  const server = await serve(testServer().rpc, LOOPBACK);
  const silent = await opened(dialToStay(server.port, "127.0.0.1"), "connect");
  await endOf(server);
  silent.destroy();
});

test(
  "close() is not held up by a TLS connection on which nothing was asked, or whose handshake is not done",
  await needs("openssl"),
  async () => {
    await using tls = await selfSigned();
    const server = await serve(testServer().rpc, { ...LOOPBACK, tls });
    const { port } = server;
    const silent = [
      await opened(dialToStay(port, "127.0.0.1"), "connect"),
      await opened(dialToStay(port, "127.0.0.1"), "connect"),
      await opened(dialTls({ host: "127.0.0.1", port, ca: tls.cert }), "secureConnect"),
    ];
    // The beginning of a hello. Bun does not tell its `node:https` of such a connection, and ends it in 10 seconds.
    if (runtimeHere !== "bun") silent[0]?.write(new Uint8Array([22, 3, 1, 2, 0, 1]));
    await endOf(server);
    silent.forEach((socket) => socket.destroy());
  },
);

async function opened(socket: Socket, event: "connect" | "secureConnect"): Promise<Socket> {
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.once(event, resolve));
  return socket;
}

/** Waits for the end of a server that gives requests for ever. */
async function endOf(server: NodeServer): Promise<void> {
  let isClosed = false;
  void server.close({ drainMs: 1e9 }).then(() => isClosed = true);
  await until(() => isClosed);
}

test("close() is not held up by a peer that was refused and does not leave", async () => {
  const { rpc } = testServer();
  const server = await serve(rpc, LOOPBACK);
  const stays = dialToStay({ host: "127.0.0.1", port: server.port, allowHalfOpen: true });
  const refused = new Promise((resolve) => stays.once("data", resolve).once("end", resolve));
  stays.write(requestText(server.url, { ...UPGRADE, origin: "http://evil.example" }, {}));
  assertStringIncludes(String(await refused), "403");
  await server.close();
  stays.destroy();
});

test("serve() terminates a peer that was refused and does not leave", async () => {
  const { rpc } = testServer();
  await using server = await serve(rpc, LOOPBACK);
  const stays = dialToStay({ host: "127.0.0.1", port: server.port, allowHalfOpen: true });
  stays.on("data", () => {});
  stays.write(requestText(server.url, { ...UPGRADE, origin: "http://evil.example" }, {}));
  await new Promise((resolve) => stays.once("end", resolve));
  // What is said to a socket that is gone comes back as a reset.
  const reset = new Promise((resolve) => stays.once("error", resolve));
  const talks = setInterval(() => stays.write("?"), 50);
  await reset;
  clearInterval(talks);
  stays.destroy();
});

test("close() is not held up by a handshake that never settles, nor by one that settles late", async () => {
  const { rpc } = testServer();
  const asked: (() => void)[] = [];
  rpc.use({
    name: "test",
    handshake: () => new Promise<void>((resolve) => void asked.push(resolve)),
  });
  const server = await serve(rpc, LOOPBACK);
  const left = await dial(server.url);
  const waits = await dial(server.url);
  for (const socket of [left, waits]) socket.write(requestText(server.url, UPGRADE, {}));
  await until(() => asked.length === 2);
  left.end();
  const closed = server.close();
  asked[1]?.();
  await closed;
  assertEquals(rpc.connections.size, 0);
  await rpc.close();
  for (const socket of [left, waits]) socket.destroy();
});

// -- in a framework --

test("serve() works through a Hono app that adds headers to every response", async () => {
  const { rpc, logger } = testServer();
  const app = new Hono();
  app.use(async (c, next) => {
    c.header("x-served-by", "hono");
    await next();
  });
  app.get("/", (c) => c.text("home"));
  app.all("/rpc", (c) => rpc.fetch(c.req.raw, c.env));
  await using server = await serve(app, LOOPBACK);
  for (const url of [`${wsUrl(server)}/rpc`, `${server.url}/rpc`]) {
    await using client = await connect<typeof rpc>(url);
    assertEquals(await client.call("ping"), "pong");
  }
  const home = await fetch(server.url);
  assertEquals([await home.text(), home.headers.get("x-served-by")], ["home", "hono"]);
  const body = '{"jsonrpc":"2.0","method":"ping","id":1}';
  const post = await rawPost(server.url, body);
  const missing = await rawUpgrade(server.url);
  const foreign = await rawRequest(server.url, {
    path: "/rpc",
    headers: { ...UPGRADE, origin: "https://evil.example" },
  });
  assertEquals([post.status, missing.status, foreign.status], [404, 426, 403]);
  assertStringIncludes(logger.text, "evil.example");
});

// -- TLS --

test(
  "serve() uses TLS when it is given a key and a certificate",
  await needs("openssl"),
  async () => {
    await using tls = await selfSigned();
    const seen: string[] = [];
    const { rpc } = testServer();
    rpc.use({ name: "test", handshake: ({ url }) => void seen.push(new URL(url).protocol) });
    await using server = await serve(rpc, { ...LOOPBACK, tls });
    assertEquals(server.url, `https://127.0.0.1:${server.port}`);

    const trust = { ca: tls.cert };
    class Trusting extends WsSocket {
      constructor(url: string, protocols?: string[]) {
        // Bun's `ws` looks for it below `tls`.
        super(url, protocols, { ...trust, tls: trust } as object);
      }
    }
    const WebSocket = Trusting as unknown as new (url: string) => StandardSocket;
    await using client = await connect<typeof rpc>(wsUrl(server), { WebSocket });
    assertEquals(await client.call("ping"), "pong");

    const headers = { "content-type": "application/json", origin: server.url };
    const answer = await new Promise<string>((resolve, reject) => {
      const request = httpsRequest(
        server.url,
        { method: "POST", headers, ...trust },
        (response) => {
          response.setEncoding("utf8").on("data", resolve);
        },
      );
      request.on("error", reject).end('{"jsonrpc":"2.0","method":"ping","id":1}');
    });
    assertEquals(JSON.parse(answer).result, "pong");
    assertEquals(seen, ["https:", "https:"]);
    await assertRejects(() => connect(wsUrl(server)), RpcConnectionError);
  },
);

// -- answers that are none --

const BROKEN: Readonly<Record<string, () => Response>> = {
  "whose body was read before": () => USED,
  "whose body breaks off": () =>
    new Response(
      new ReadableStream({ start: (controller) => controller.error(new Error("secret detail")) }),
    ),
  "that is none": () => undefined as unknown as Response,
};
const USED = new Response("No", { status: 403 });
await USED.text();

for (const [what, answer] of Object.entries(BROKEN)) {
  test(`serve() answers an upgrade 500 when the app gives a response ${what}`, async () => {
    await using server = await serve({ fetch: () => answer() }, LOOPBACK);
    for (let round = 0; round < 2; round++) {
      const { status, body } = await rawUpgrade(server.url);
      assertEquals([status, body], [500, "Internal error"]);
    }
  });
}
