/**
 * A site whose tabs share one connection, for tests in a real browser.
 */
import { JsonRpc } from "@x/jsonrpc";
import type { Page } from "playwright-core";
import { bundle } from "./bundle.ts";
import { silentLog } from "./log.ts";
import { serveHere } from "./server.ts";

/** What a test uses of a tab. */
export interface Tab {
  readonly client: {
    readonly state: string;
    call(method: string, params?: unknown): Promise<unknown>;
  };
  readonly heard: unknown[];
  readonly closes: number[];
}

const html = '<!DOCTYPE html><script type="module" src="/shared_connection_tab.js"></script>';

const OTHER = new Map([
  ["throws.js", 'throw new Error("on purpose")'],
  ["broken.js", "this is no script"],
  ["deaf.js", "// takes no notice of its tabs"],
]);

/** Serves the site. It counts how often the server has each topic subscribed. */
export async function site() {
  const worker = await bundle("tests/programs/shared_connection_worker.ts");
  const page = await bundle("tests/programs/shared_connection_tab.ts");
  const topics = new Map<string, number>();
  const count = (topic: string, by: number): void => {
    topics.set(topic, (topics.get(topic) ?? 0) + by);
    if (topics.get(topic) === 0) topics.delete(topic);
  };
  const aborted: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), maxMessageBytes: 2 ** 24 })
    .topic("news", { history: { size: 100 } })
    .topic("own.*")
    .method("echo", (params: unknown) => params)
    .method("large", () => "x".repeat(8_000_000))
    .method("ask", (_params: unknown, request) => request.call("who"))
    .method("wait", async ([name]: [string], { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      aborted.push(name);
    })
    .use({
      name: "count",
      onSubscribe: (_, topic) => count(topic, 1),
      onUnsubscribe: (_, topic) => count(topic, -1),
    });
  const server = await serveHere({
    fetch(request, host) {
      const { pathname } = new URL(request.url);
      if (pathname === "/rpc") return rpc.fetch(request, host);
      const name = pathname.slice(1);
      const script = worker.get(name) ?? page.get(name) ?? OTHER.get(name);
      if (script === undefined && name !== "") return new Response(null, { status: 404 });
      const type = script === undefined ? "text/html" : "text/javascript";
      return new Response(script ?? html, { headers: { "content-type": type } });
    },
    websocket: rpc.websocket,
    close: () => rpc.close(),
  });
  return { rpc, server, topics, aborted };
}

/** Runs a function in a tab. */
export function run<T>(page: Page, code: (tab: Tab) => T | Promise<T>): Promise<T> {
  return page.evaluate(`(${code})(globalThis.tab)`) as Promise<T>;
}

/** Waits until a tab is connected. */
export async function ready(page: Page): Promise<Page> {
  await page.waitForFunction('document.title === "ready"');
  return page;
}
