/**
 * The inspector in front of a server that has very many methods, and markup wherever there is text.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import { inspector } from "@x/jsonrpc/inspector";
import { withChromium } from "../helpers/chromium.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { serveHere } from "../helpers/server.ts";

const chromium = await needs("chromium");
const MARKUP = `<img src=x onerror="globalThis.broken=1"><script>globalThis.broken=1</script>`;

test(
  "the inspector shows markup of a server as text, and finds one of a thousand methods",
  chromium,
  async () => {
    const info = { title: `Shop ${MARKUP}`, version: "1" };
    const rpc = new JsonRpc({ logger: silentLog(), info }).use(inspector())
      .topic(`news ${MARKUP}`, { retain: true });
    for (let n = 0; n < 1000; n++) rpc.method(`shop.item${n}.get`, () => n);
    const texts = { summary: MARKUP, description: MARKUP, names: [`a ${MARKUP}`] };
    rpc.method(`evil ${MARKUP}`, texts, () => {
      throw new RpcError(1, MARKUP, { data: { markup: MARKUP } });
    });
    rpc.publish(`news ${MARKUP}`, MARKUP);
    await using server = await serveHere(rpc);
    await withChromium(async (visit) => {
      const page = await visit(server.url);
      const list = page.locator("#method-list button");
      await list.filter({ hasText: "shop.item999.get" }).waitFor();
      assert(await list.count() > 1000);
      await page.getByLabel("Filter").first().fill("item777");
      await page.getByRole("button", { name: "shop.item777.get", exact: true }).click();
      assertEquals(await list.count(), 1);
      await page.getByRole("button", { name: "Call", exact: true }).click();
      await page.locator("#result").filter({ hasText: "777" }).waitFor();
      await page.getByLabel("Filter").first().fill("evil");
      await list.first().click();
      await page.locator("#method-docs").filter({ hasText: MARKUP }).waitFor();
      await page.locator("#fields").filter({ hasText: MARKUP }).waitFor();
      await page.getByRole("button", { name: "Call", exact: true }).click();
      await page.locator("#result").filter({ hasText: MARKUP }).waitFor();
      await page.getByRole("navigation").getByRole("button", { name: "Topics" }).click();
      await page.locator("#topic-list button").first().click();
      await page.getByRole("button", { name: "Subscribe", exact: true }).click();
      await page.locator("#events").filter({ hasText: MARKUP }).waitFor();
      await page.getByRole("navigation").getByRole("button", { name: "Frames" }).click();
      await page.locator("#frame-rows").filter({ hasText: "onerror" }).waitFor();
      assertEquals(await page.locator("img").count(), 0);
      assertEquals(await page.evaluate("typeof globalThis.broken"), "undefined");
      // Were there markup, the policy would still let no script of it run.
      const stopped = await page.evaluate(`new Promise((resolve) => {
        addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective));
        const script = document.createElement("script");
        script.textContent = "globalThis.broken = 1";
        document.body.append(script);
      })`);
      assertEquals(stopped, "script-src-elem");
      assertEquals(await page.evaluate("typeof globalThis.broken"), "undefined");
    });
  },
);
