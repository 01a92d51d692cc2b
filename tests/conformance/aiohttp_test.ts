/**
 * Python's aiohttp-json-rpc itself beside this module: its client and its rpc.js with our server, our client
 * with its server. They need a checkout of it, see helpers/aiohttp.ts.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { connect, RpcError, RpcTimeoutError } from "@x/jsonrpc";
import { withChromium } from "../helpers/chromium.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalApp } from "../helpers/server.ts";
import { aiohttpCheckout, readProgram, runPython, startPython } from "../helpers/aiohttp.ts";
import { likeAiohttp } from "../programs/aiohttp_like.ts";
import { needs } from "../helpers/needs.ts";

const aiohttp = await needs("aiohttp-json-rpc");
const aiohttpAndChromium = await needs("aiohttp-json-rpc", "chromium");

test("the Python client calls, is called, subscribes and receives events", aiohttp, async () => {
  const checkout = aiohttpCheckout() as string;
  const rpc = likeAiohttp();
  rpc.publish("news", "We are live");
  await using server = await serveHere(rpc);
  assertEquals(await runPython("aiohttp_client.py", checkout, server.ws), [
    'get_topics ["news", "sport"]',
    'ping "pong"',
    'ping with an id "pong"',
    "by name 3",
    "by position 7",
    'scalar params "as it is"',
    "null as result null",
    "prefix 42",
    'no method ["RpcMethodNotFoundError", -32601, "Method not found", null]',
    'wrong params ["RpcInvalidParamsError", -32602, "Invalid params", "b is missing"]',
    'failure ["RpcInternalError", -32603, "Internal error", null]',
    'own code ["RpcGenericServerDefinedError", -32050, "Computer says no", [1]]',
    'the server asks {"message": "Sure?"}',
    "ask true",
    'ask in vain ["RpcMethodNotFoundError", -32601, "Method not found", null]',
    'subscribe ["news"]',
    'last value {"jsonrpc": "2.0", "method": "news", "params": "We are live", "id": null}',
    'get_subscriptions ["news"]',
    "publish 1",
    'event {"jsonrpc": "2.0", "method": "news", "params": ["An event"], "id": null}',
    'no topic ["news"]',
    "unsubscribe []",
    "publish 0",
    "events after that 0",
    'context {"args": ["one"], "kwargs": {"two": 2}}',
    'context without params "pong"',
    'connected by the first call "pong"',
  ]);
});

test(
  "rpc.js in a browser calls, is called, subscribes and receives events",
  aiohttpAndChromium,
  async () => {
    const checkout = aiohttpCheckout() as string;
    await using server = await serveHere(await siteOf(checkout));
    await withChromium(async (visit) => {
      const page = await visit(server.url);
      await page.getByText("closed null").waitFor();
      const shown = await page.locator("pre").innerText();
      assertEquals(shown.trim().split("\n"), [
        'no params "pong"',
        'null as params "pong"',
        "by name 3",
        'scalar params "as it is"',
        'an error {"code":-32601,"message":"Method not found"}',
        'the server asks {"message":"Sure?"}',
        "ask true",
        'last value and event ["We are live","An event"]',
        "closed null",
      ]);
    });
  },
);

test(
  "our client calls the Python server, is called, subscribes and receives events",
  aiohttp,
  async () => {
    const checkout = aiohttpCheckout() as string;
    await using server = await startPython("aiohttp_server.py", checkout);
    await using client = await connect(server.url, { separator: "__", logger: silentLog() });
    client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
    assertEquals(await client.call("ping"), "pong");
    assertEquals(await client.call("add", [1, 2]), 3);
    assertEquals(await client.remote.math?.add?.({ a: 3, b: 4 }), 7);
    assertEquals(await client.call("ask"), true);

    const codes = { nothing: -32601, refuse: -32602, fail: -32603, busy: -32050 };
    for (const [method, code] of Object.entries(codes)) {
      const error = await assertRejects(() => client.call(method), RpcError);
      assertEquals((error as RpcError).code, code);
    }

    const received: unknown[] = [];
    const subscription = await client.subscribe("news", (data) => received.push(data));
    assertEquals(await client.getSubscriptions(), ["news"]);
    assertEquals(await client.call("publish", ["An event"]), null);
    await until(() => received.length === 2);
    assertEquals(received, ["We are live", ["An event"]]);
    await assertRejects(() => client.subscribe("weather", () => {}), RpcError);
    await subscription.unsubscribe();
    assertEquals(await client.getSubscriptions(), []);

    // It never answers a batch.
    const batch = client.batch((b) => [b.call("ping", undefined, { timeoutMs: 100 })]);
    await assertRejects(() => batch, RpcTimeoutError);
  },
);

/** A page that loads rpc.js, and the server that it talks to. */
async function siteOf(checkout: string): Promise<LocalApp> {
  const rpc = likeAiohttp();
  rpc.publish("news", "We are live");
  const page = await readProgram("aiohttp_page.html");
  const script = join(checkout, "aiohttp_json_rpc", "django", "static", "rpc.js");
  const rpcJs = await readFile(script, "utf8");
  function fetch(request: Request, host?: unknown): Response | Promise<Response> {
    switch (new URL(request.url).pathname) {
      case "/":
        return new Response(page, { headers: { "content-type": "text/html" } });
      case "/rpc.js":
        return new Response(rpcJs, { headers: { "content-type": "text/javascript" } });
      case "/rpc":
        return rpc.fetch(request, host);
      default:
        return new Response("Not found", { status: 404 });
    }
  }
  return { fetch, websocket: rpc.websocket, close: () => rpc.close() };
}
