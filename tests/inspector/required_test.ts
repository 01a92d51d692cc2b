/**
 * What a stranger gets of a server that requires a login and has an inspector: the page, and nothing else.
 */
import { assert, assertEquals } from "@std/assert";
import { SignJWT } from "jose";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { JsonRpcClient, JsonRpcOptions } from "@x/jsonrpc";
import { inspector } from "@x/jsonrpc/inspector";
import { jwt } from "@x/jsonrpc/jwt";
import type { Plugin } from "@x/jsonrpc/plugin";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const secret = crypto.getRandomValues(new Uint8Array(32));
const HTML = { accept: "text/html,*/*" };

function required() {
  return jwt({ secret, algorithms: ["HS256"], required: true });
}

/** A server with data in every place, and the inspector in the middle. */
function testServer(options: JsonRpcOptions = {}, more: Plugin = { name: "more" }) {
  const asked: string[] = [];
  const data = (name: string): Plugin => ({
    name,
    fetch: ({ url }) => {
      if (new URL(url).pathname === "/data") asked.push(name);
      return new URL(url).pathname === "/data" ? new Response(`data of ${name}`) : undefined;
    },
  });
  const rpc = new JsonRpc({ logger: silentLog(), ...options }).use(data("first"))
    .use(inspector()).use(required()).use(more).use(data("last"))
    .method("secret", { get: true }, () => "data")
    .topic("news", { retain: true });
  rpc.publish("news", "data");
  return { rpc: rpc as unknown as JsonRpc, asked };
}

async function get(rpc: JsonRpc, path: string, headers: Record<string, string>, method = "GET") {
  const body = method === "GET" || method === "HEAD" ? null : "{}";
  const url = `http://localhost${path}`;
  const response = await rpc.fetch(new Request(url, { method, headers, body }));
  return { status: response.status, text: await response.text() };
}

function isPage({ status, text }: { status: number; text: string }): boolean {
  return status === 200 && text.startsWith("<!DOCTYPE html>") && !text.includes("data of");
}

test("a stranger gets the page of a server that requires a token, whatever the path", async () => {
  const { rpc, asked } = testServer();
  for (const path of ["/", "/data", "/any?topics=news"]) {
    assert(isPage(await get(rpc, path, HTML)), path);
  }
  assertEquals(await get(rpc, "/", HTML, "HEAD"), { status: 200, text: "" });
  assertEquals(asked, []);
});

test("a stranger gets nothing else of a server that requires a token", async () => {
  const { rpc, asked } = testServer();
  for (
    const [path, headers, method] of [
      ["/", {}, "GET"],
      ["/data", { accept: "application/json" }, "GET"],
      ["/?method=secret", HTML, "GET"],
      ["/?topics=news", { accept: "text/event-stream, text/html" }, "GET"],
      ["/", { ...HTML, "content-type": "application/json" }, "POST"],
      ["/data", HTML, "PUT"],
      ["/data", HTML, "DELETE"],
      ["/", { ...HTML, authorization: "Bearer no.good.token" }, "GET"],
    ] as const
  ) {
    const { status, text } = await get(rpc, path, headers, method);
    assert(status === 401 || status === 403, `${method} ${path}: ${status} ${text}`);
  }
  assertEquals(asked, []);
});

test("the page of a server that requires a token is for allowed hosts, origins and peers alone", async () => {
  const foreign = { ...HTML, origin: "https://evil.example" };
  assertEquals((await get(testServer().rpc, "/", foreign)).status, 403);
  const host = { ...HTML, host: "evil.example" };
  assertEquals((await get(testServer({ hosts: ["shop.example"] }).rpc, "/", host)).status, 403);
  const address = { name: "address", handshake: () => new Response("Not you", { status: 403 }) };
  assertEquals(await get(testServer({}, address).rpc, "/", HTML), { status: 403, text: "Not you" });
});

test("a peer with a token gets what the plugins answer, each in its turn", async () => {
  const { rpc, asked } = testServer();
  const token = await new SignJWT({ sub: "ada" }).setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h").sign(secret);
  const headers = { ...HTML, authorization: `Bearer ${token}` };
  assertEquals((await get(rpc, "/data", headers)).text, "data of first");
  assert(isPage(await get(rpc, "/", headers)));
  assertEquals(asked, ["first"]);
});

test("the socket of a server that requires a token offers a stranger login alone", async () => {
  await using server = await serveHere(testServer().rpc);
  assert(isPage(await fetchPage(server.url)));
  await using client = await connect(server.ws, { logger: silentLog() });
  const { call } = bound(client as unknown as JsonRpcClient);
  for (const method of ["secret", "rpc.discover", "get_methods", "get_topics"]) {
    assertEquals(await call(method), -32601, method);
  }
});

test("a page that fails is no way around a login", async () => {
  const failing: Plugin = {
    name: "failing",
    page() {
      throw new Error("no template");
    },
  };
  const rpc: JsonRpc = new JsonRpc({ logger: silentLog() }).use(failing).use(
    required(),
  ) as unknown as JsonRpc;
  assertEquals((await get(rpc, "/", HTML)).status, 401);
});

async function fetchPage(url: string) {
  const response = await fetch(url, { headers: HTML });
  return { status: response.status, text: await response.text() };
}

function bound(client: JsonRpcClient) {
  const call = (method: string) =>
    client.call(method).then(() => "answered", (error) => error.code as number);
  return { call };
}
