/**
 * The client in a real browser: in a service worker, which may not use `import()`, and with an address that is
 * relative to the page.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { bundle } from "../helpers/bundle.ts";
import { withChromium } from "../helpers/chromium.ts";
import { needs } from "../helpers/needs.ts";
import { serveHere } from "../helpers/server.ts";

// Deno bundles.
const chromium = await needs("chromium", "deno");

/** Serves the files of a bundle, a page, and a method `add`. */
async function site(files: ReadonlyMap<string, string>, html = "") {
  const urls: string[] = [];
  const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);
  const server = await serveHere({
    fetch(request, host) {
      const { pathname, search } = new URL(request.url);
      const script = files.get(pathname.split("/").at(-1) ?? "");
      if (pathname.endsWith("/rpc")) {
        urls.push(`${request.method} ${pathname}${search}`);
        return rpc.fetch(request, host);
      }
      const type = script === undefined ? "text/html" : "text/javascript";
      return new Response(script ?? html, { headers: { "content-type": type } });
    },
    websocket: rpc.websocket,
    close: () => rpc.close(),
  });
  return { urls, server };
}

/** Starts a service worker, sends it a message, and gives its reply. */
const ASK_WORKER = (file: string) =>
  `(async () => {
  await navigator.serviceWorker.register("/${file}", { type: "module" });
  const { active } = await navigator.serviceWorker.ready;
  const reply = new Promise((resolve) => {
    navigator.serviceWorker.onmessage = ({ data }) => resolve(data);
  });
  active.postMessage("go");
  return await reply;
})()`;

test("a service worker of one file calls its server over POST", chromium, async () => {
  const { server, urls } = await site(await bundle("tests/programs/service_worker.ts"));
  await using _ = server;
  await withChromium(async (visit) => {
    const page = await visit(server.url);
    assertEquals(await page.evaluate(ASK_WORKER("service_worker.js")), 42);
  });
  assertEquals(urls, ["POST /rpc"]);
});

test(
  "a service worker of several files calls its server with httpTransport()",
  chromium,
  async () => {
    const files = await bundle("--code-splitting", "tests/programs/split_service_worker.ts");
    const { server, urls } = await site(files);
    await using _ = server;
    await withChromium(async (visit) => {
      const page = await visit(server.url);
      assertEquals(await page.evaluate(ASK_WORKER("split_service_worker.js")), 42);
    });
    assertEquals(urls, ["POST /rpc"]);
  },
);

test(
  "connect() with a relative URL leads to a WebSocket of the page's server",
  chromium,
  async () => {
    const files = await bundle("tests/programs/relative_page.ts");
    const html = '<script type="module" src="/relative_page.js"></script>';
    const { server, urls } = await site(files, html);
    await using _ = server;
    await withChromium(async (visit) => {
      const page = await visit(`${server.url}/shop/cart`);
      await page.waitForFunction('document.title === "42"');
    });
    assertEquals(urls, ["GET /shop/rpc?from=page"]);
  },
);
