/**
 * Tabs that the browser freezes, two versions of a page, and workers that cannot start, in a real browser.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { withChromium } from "../helpers/chromium.ts";
import { until } from "../helpers/deferred.ts";
import { withDevTools } from "../helpers/devtools.ts";
import type { DevToolsPage } from "../helpers/devtools.ts";
import { needs } from "../helpers/needs.ts";
import { ready, run, site } from "../helpers/tabs_site.ts";

// Deno bundles.
const chromium = await needs("chromium", "deno");

test("a frozen tab is let go when too much waits, and misses nothing", chromium, async () => {
  const { rpc, server, topics } = await site();
  await using _ = server;
  await withDevTools(async (browser) => {
    const worker = encodeURIComponent("/shared_connection_worker.js?unread=100000");
    const open = async (name: string): Promise<DevToolsPage> => {
      const page = await browser.open(`${server.url}/?name=${name}&worker=${worker}`);
      await until(async () => await page.value("document.title") === "ready");
      return page;
    };
    const frozen = await open("frozen");
    const other = await open("other");
    const lengths = (page: DevToolsPage): Promise<number[]> => {
      return page.value("tab.heard.map((text) => text.length)");
    };
    const hears = (page: DevToolsPage, expected: readonly number[]) =>
      until(async () => (await lengths(page)).join() === expected.join());
    const publish = (...all: number[]): void => {
      for (const length of all) rpc.publish("news", "x".repeat(length));
    };

    // A little waits for it.
    await frozen.freeze("frozen");
    publish(1);
    await hears(other, [1]);
    assertEquals(await lengths(frozen), []);
    await frozen.freeze("active");
    await hears(frozen, [1]);
    assertEquals(await frozen.value("tab.closes"), []);

    // Too much waits: the other tab goes on.
    await frozen.freeze("frozen");
    publish(500_001, 500_002, 500_003, 500_004, 500_005);
    await hears(other, [1, 500_001, 500_002, 500_003, 500_004, 500_005]);
    await until(() => !topics.has("own.frozen"));
    publish(2);
    assertEquals([rpc.connections.size, topics.get("news")], [1, 1]);
    assertEquals(await lengths(frozen), [1]);
    await frozen.freeze("active");
    await until(() => topics.has("own.frozen"));
    const all = [1, 500_001, 500_002, 500_003, 500_004, 500_005, 2];
    await hears(frozen, all);
    await hears(other, all);
    assertEquals(await frozen.value("tab.closes"), [1013]);
  });
});

test("two versions of a page have a worker each", chromium, async () => {
  const { rpc, server, topics } = await site();
  await using _ = server;
  await withChromium(async (visit) => {
    const old = await ready(await visit(`${server.url}/?name=old&version=1`));
    const page = await old.context().newPage();
    await page.goto(`${server.url}/?name=new&version=2`);
    await ready(page);
    assertEquals([rpc.connections.size, topics.get("news")], [2, 2]);
    rpc.publish("news", "hi");
    for (const each of [old, page]) {
      await until(async () => (await run(each, ({ heard }) => heard)).length === 1);
    }
    await old.close();
    await until(() => rpc.connections.size === 1 && topics.size === 2);
  });
});

test("a page is told that its worker does not start", chromium, async () => {
  const { server } = await site();
  await using _ = server;
  await withChromium(async (visit) => {
    const failures = {
      "/missing.js": "its script cannot be loaded, or has a syntax error",
      "/broken.js": "its script cannot be loaded, or has a syntax error",
      "/throws.js": "Uncaught Error: on purpose",
    };
    for (const [script, why] of Object.entries(failures)) {
      const page = await visit(`${server.url}/?name=a&worker=${script}`);
      await page.waitForFunction('document.title !== ""');
      const text = `Cannot connect to the shared worker (1006: The worker failed: ${why})`;
      assertEquals(await page.title(), text);
    }
  });
});
