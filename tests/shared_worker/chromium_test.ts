/**
 * One WebSocket for ten tabs, in a real browser: also for tabs that crash, and for a worker that is restarted.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { withChromium } from "../helpers/chromium.ts";
import { until } from "../helpers/deferred.ts";
import { needs } from "../helpers/needs.ts";
import { ready, run, site } from "../helpers/tabs_site.ts";

// Deno bundles.
const chromium = await needs("chromium", "deno");

/** Ends the shared worker of a page, as the browser's own tools do. */
async function endWorker(page: Page): Promise<void> {
  const session = await page.context().browser()?.newBrowserCDPSession();
  const { targetInfos = [] } = await session?.send("Target.getTargets") ?? {};
  const { targetId } = targetInfos.find(({ type }) => type === "shared_worker") ?? {};
  await session?.send("Target.closeTarget", { targetId: targetId as string });
}

test("ten tabs of a browser share one WebSocket", chromium, async () => {
  const { rpc, server, topics, aborted } = await site();
  await using _ = server;
  await withChromium(async (visit) => {
    const first = await ready(await visit(`${server.url}/?name=0`));
    const open = async (name: number): Promise<Page> => {
      const page = await first.context().newPage();
      await page.goto(`${server.url}/?name=${name}`);
      return ready(page);
    };
    const tabs = [first];
    for (let name = 1; name < 10; name++) tabs.push(await open(name));
    assertEquals([rpc.connections.size, topics.get("news"), topics.size], [1, 1, 11]);

    const answers = await Promise.all(
      tabs.map((tab) =>
        run(tab, (tab) => Promise.all([1, 2, 3].map((n) => tab.client.call("echo", [n]))))
      ),
    );
    assertEquals(answers, tabs.map(() => [[1], [2], [3]]));
    assertEquals(await run(tabs[4] as Page, ({ client }) => client.call("ask")), "4");

    rpc.publish("news", "a");
    rpc.publish("own.3", "mine");
    const heard = () => Promise.all(tabs.map((tab) => run(tab, ({ heard }) => heard)));
    await until(async () => (await heard()).every((events) => events.includes("a")));
    assertEquals((await heard())[3], ["a", "mine"]);
    assertEquals((await heard())[4], ["a"]);

    // One tab is closed, one crashes while it waits and 8 MB are on their way to it.
    await (tabs.pop() as Page).close();
    await until(() => !topics.has("own.9"));
    const crashing = tabs.pop() as Page;
    await crashing.evaluate('void tab.client.call("wait", ["8"]); void tab.client.call("large")');
    const session = await crashing.context().newCDPSession(crashing);
    void session.send("Page.crash").catch(() => {});
    await until(() => !topics.has("own.8") && aborted.length === 1);
    // If the worker ran in the process of that tab, the others have started another.
    await until(() => rpc.connections.size === 1 && topics.get("news") === 1 && topics.size === 9);
    assertEquals(aborted, ["8"]);

    // The connection is cut: each tab sees that, and misses nothing.
    for (const connection of rpc.connections) connection.close(4000, "Again");
    rpc.publish("news", "b");
    await until(async () => (await heard()).every((events) => events.includes("b")));
    const closes = await Promise.all(tabs.map((tab) => run(tab, ({ closes }) => closes.at(-1))));
    assertEquals([rpc.connections.size, closes], [1, tabs.map(() => 4000)]);

    // A page that is left and comes back, from the cache of the browser or anew.
    const wanderer = tabs[2] as Page;
    await wanderer.goto("about:blank");
    await until(() => !topics.has("own.2"));
    // A page out of the cache has no `load` event.
    await wanderer.goBack({ waitUntil: "commit" });
    await until(() => topics.has("own.2"));

    // The worker is ended: the tabs start another.
    const [old] = rpc.connections;
    await endWorker(first);
    await until(() => old?.isOpen === false);
    rpc.publish("news", "c");
    await until(async () => (await heard()).every((events) => events.includes("c")));
    await until(() => rpc.connections.size === 1 && topics.size === 9);

    await Promise.all(tabs.map((tab) => tab.close()));
    await until(() => rpc.connections.size === 0);
  });
});
