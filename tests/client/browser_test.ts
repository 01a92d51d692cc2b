/**
 * The client in a real browser: in a service worker, which may not use `import()`, with an address that is
 * relative to the page, and in a page that comes back after a while.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { bundle } from "../helpers/bundle.ts";
import { withChromium } from "../helpers/chromium.ts";
import type { Page } from "playwright-core";
import { until } from "../helpers/deferred.ts";
import { needs } from "../helpers/needs.ts";
import { proxy } from "../helpers/proxy.ts";
import { serveHere } from "../helpers/server.ts";

// Deno bundles.
const chromium = await needs("chromium", "deno");

/** Serves the files of a bundle, a page, and a method `add`. */
async function site(files: ReadonlyMap<string, string>, html = "") {
  const urls: string[] = [];
  const ended: unknown[] = [];
  const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b)
    .method("work", async ([steps]: [number], request) => {
      let step = 0;
      while (step < steps && !request.aborted) {
        request.progress(++step);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      ended.push(request.aborted);
      return "done";
    })
    .topic("news");
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
  return { urls, server, rpc, ended };
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

test("a page gets progress over POST, and gives a call up in the midst", chromium, async () => {
  const files = await bundle("--code-splitting", "tests/programs/progress_page.ts");
  const html = '<script type="module" src="/progress_page.js"></script>';
  const { server, ended } = await site(files, html);
  await using _ = server;
  await withChromium(async (visit) => {
    const page = await visit(`${server.url}/`);
    await page.waitForFunction('document.title.startsWith("[")');
    assertEquals(JSON.parse(await page.title()), [[1, 2], "done", "enough"]);
    await until(() => ended.length === 2);
  });
  assertEquals(ended, [false, true]);
});

test("a page whose prepare fails is told with which error", chromium, async () => {
  const files = await bundle("tests/programs/refused_page.ts");
  const { server } = await site(files, '<script type="module" src="/refused_page.js"></script>');
  await using _ = server;
  await withChromium(async (visit) => {
    const page = await visit(`${server.url}/`);
    await page.waitForFunction('document.title.startsWith("[")');
    const [name, message, cause] = JSON.parse(await page.title());
    assertEquals([name, cause], ["RpcConnectionError", "RangeError: three is too many"]);
    assertStringIncludes(message, "(prepare failed: RangeError: three is too many)");
  });
});

/** What a browser does to a page that becomes of use again; none of it loads the page anew. */
const RETURNS: Readonly<Record<string, (page: Page) => Promise<unknown>>> = {
  // HTML says that it bubbles.
  visibilitychange: (page) =>
    page.evaluate('document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))'),
  pageshow: (page) => page.evaluate('dispatchEvent(new PageTransitionEvent("pageshow"))'),
  async online(page) {
    await page.context().setOffline(true);
    await page.context().setOffline(false);
  },
};

for (const [event, comeBack] of Object.entries(RETURNS)) {
  test(
    `a page whose socket only looks open is live again soon after "${event}"`,
    chromium,
    async () => {
      const files = await bundle("tests/programs/sleepy_page.ts");
      const { server, rpc } = await site(files, SLEEPY);
      await using _ = server;
      await using network = await proxy(server.url);
      await withChromium(async (visit) => {
        const page = await visit(network.url);
        await page.waitForFunction('document.title === "ready"');
        // Nothing comes through any more, and neither end is told.
        for (const link of network.links) {
          link.up.become("lose");
          link.down.become("lose");
        }
        await comeBack(page);
        await untilShown(page, "news", () => rpc.publish("news", "news"));
      });
    },
  );
}

test("a page that a browser gives back as it was left is live again", chromium, async () => {
  const { server, rpc } = await site(await bundle("tests/programs/sleepy_page.ts"), SLEEPY);
  await using _ = server;
  await withChromium(async (visit) => {
    const page = await visit(server.url);
    await page.waitForFunction('document.title === "ready"');
    await page.evaluate("globalThis.mark = 1");
    await page.goto(`${server.url}/sleepy_page.js`);
    await page.goBack({ waitUntil: "commit" });
    await untilShown(page, "news", () => rpc.publish("news", "news"));
    assertEquals(await page.evaluate("globalThis.mark"), 1, "it was loaded anew");
  });
});

const SLEEPY = '<script type="module" src="/sleepy_page.js"></script>';

/** Publishes until a page shows it. */
async function untilShown(page: Page, title: string, publish: () => void): Promise<void> {
  await until(async () => {
    publish();
    return await page.title() === title;
  });
}
