/**
 * The inspector as a person would use it, in a real browser, and what it answers to others.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { JsonRpc } from "@x/jsonrpc";
import { inspector } from "@x/jsonrpc/inspector";
import { withChromium } from "../helpers/chromium.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import { inspectorPage } from "../../tools/inspector.ts";

const chromium = await needs("chromium");
const pictures = fileURLToPath(new URL("../../coverage/inspector/", import.meta.url));
mkdirSync(pictures, { recursive: true });

function get(rpc: JsonRpc, headers: Record<string, string>, method = "GET"): Promise<Response> {
  return Promise.resolve(rpc.fetch(new Request("http://localhost/", { method, headers })));
}

test("inspector() answers a browser with a page that may load nothing, and nobody else", async () => {
  const rpc: JsonRpc = new JsonRpc().use(inspector());
  const page = await get(rpc, { accept: "text/html,*/*" });
  assertEquals(page.status, 200);
  const policy = page.headers.get("content-security-policy") ?? "";
  assertMatch(policy, /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-/);
  assert(!/unsafe|https?:/.test(policy), policy);
  const text = await page.text();
  assert(!/\b(?:src|href)=/.test(text), "the page names another file");
  assertEquals((await (await get(rpc, { accept: "text/html" }, "HEAD")).text()).length, 0);
  for (const accept of ["application/json", "*/*"]) {
    const other = await get(rpc, { accept });
    assertEquals(other.status, 405);
    await other.body?.cancel();
  }
  const without = await get(new JsonRpc(), { accept: "text/html" });
  assertEquals(without.status, 405);
  await without.body?.cancel();
});

test("inspector() shows nothing to a host that is not allowed", async () => {
  const rpc: JsonRpc = new JsonRpc({ hosts: ["shop.example"], logger: silentLog() }).use(
    inspector(),
  );
  const page = await get(rpc, { accept: "text/html", host: "evil.example" });
  assertEquals(page.status, 403);
  await page.body?.cancel();
});

test("page.ts is what `deno task inspector` makes of the files in page/", () => {
  const made = readFileSync(new URL("../../src/inspector/page.ts", import.meta.url), "utf8");
  assert(made === inspectorPage(), "run `deno task inspector`");
});

/** Lends the page of a server that runs on a runtime, once it is connected. */
async function inspect(name: RuntimeName, use: (page: Page) => Promise<void>): Promise<void> {
  const server = await spawnServer(name, "tests/programs/inspected_server.ts");
  try {
    await withChromium(async (visit) => {
      const page = await visit(server.url);
      await state(page, "connected");
      await use(page);
    });
  } finally {
    await server.stop();
  }
}

async function state(page: Page, text: string): Promise<void> {
  await page.locator("#state").filter({ hasText: text }).waitFor();
}

async function choose(page: Page, method: string): Promise<void> {
  await page.getByRole("button", { name: method, exact: true }).click();
  await page.getByRole("heading", { name: method, exact: true }).waitFor();
}

async function call(page: Page, method: string, params: string): Promise<void> {
  await choose(page, method);
  await page.getByLabel("Params (JSON)").fill(params);
  await page.getByRole("button", { name: "Call", exact: true }).click();
}

async function result(page: Page, text: string | RegExp): Promise<void> {
  await page.locator("#result").filter({ hasText: text }).waitFor();
}

async function show(page: Page, view: string): Promise<void> {
  await page.getByRole("navigation").getByRole("button", { name: view }).click();
}

for (const name of ["deno", "bun", "node"] as const) {
  const needed = chromium.skip ? chromium : await needs(name);

  test(
    `${name}: a person finds a method in the inspector, calls it, and answers the server`,
    needed,
    async () => {
      await inspect(name, async (page) => {
        await page.getByRole("heading", { name: "Shop 2.1 · inspector" }).waitFor();
        await page.getByLabel("Filter").first().fill("add");
        await choose(page, "add");
        await page.getByText("Adds two numbers. The second one may be left out.").waitFor();
        await page.getByLabel(/^a /).fill("1");
        await page.getByLabel(/^b /).fill("2");
        await page.getByRole("button", { name: "Call", exact: true }).click();
        await result(page, /Result after [\d.]+ ms/);
        assertEquals(await page.locator("#result-value").textContent(), "3");

        await call(page, "add", '{ "a": "one" }');
        await result(page, /-32602.*does not take these params/s);
        await page.getByLabel("Params (JSON)").fill("{");
        await page.getByRole("button", { name: "Call", exact: true }).click();
        await page.getByRole("alert").filter({ hasText: "Params are no JSON" }).waitFor();

        await page.getByLabel("Filter").first().fill("");
        await call(page, "fail", "");
        await result(page, /Sold out \(409\).*"left": 0/s);
        await call(page, "wait", "");
        await page.getByRole("button", { name: "Cancel" }).click();
        await result(page, /-32800/);

        await call(page, "order", '{ "item": "tea" }');
        const asks = page.getByRole("region", { name: "Calls of the server" });
        await asks.getByText("Order tea?").waitFor();
        await asks.getByRole("button", { name: "Answer", exact: true }).click();
        await result(page, "Ordered tea");

        await call(page, "leave", "");
        await state(page, "closed (4000: Enough)");
        await state(page, "connected");
      });
    },
  );
}

test(
  "the form of the inspector takes nested, optional and alternative params",
  chromium,
  async () => {
    await inspect("node", async (page) => {
      await choose(page, "book");
      const guest = page.getByRole("group", { name: "guest object, required" });
      await guest.getByLabel(/^name string, required/).fill("Ann");
      await page.getByLabel(/^day string, required/).selectOption("saturday");
      await page.getByLabel("tags array of string").fill('["window"]');
      const place = page.getByLabel("place number or object, required");
      assertEquals(await place.getAttribute("placeholder"), "JSON: 0");
      await place.fill('{ "room": "blue" }');
      assertEquals(JSON.parse(await page.getByLabel("Params (JSON)").inputValue()), {
        guest: { name: "Ann" },
        day: "saturday",
        tags: ["window"],
        place: { room: "blue" },
      });
      await page.getByRole("button", { name: "Call", exact: true }).click();
      await result(page, /"room": "blue"[^]*"note": null/);
      await page.screenshot({ path: `${pictures}form-desktop.png` });
      // Params by position are an array.
      await choose(page, "move");
      const fields = page.locator("#fields").getByRole("textbox");
      await fields.first().fill("queen");
      await page.locator("#fields").getByRole("spinbutton").fill("4");
      await page.getByRole("button", { name: "Call", exact: true }).click();
      await result(page, /Result after/);
      assertEquals(JSON.parse(await page.locator("#result-value").textContent() ?? ""), [
        "queen",
        4,
      ]);
    });
  },
);

test("a person logs in in the inspector, and sees what is for users", chromium, async () => {
  await inspect("node", async (page) => {
    await page.getByRole("button", { name: "add", exact: true }).waitFor();
    assertEquals(await page.getByRole("button", { name: "restock" }).count(), 0);
    await page.getByText("Log in", { exact: true }).first().click();
    await page.getByLabel("User").fill("ann");
    await page.getByLabel("Password").fill("wrong");
    await page.getByRole("button", { name: "Log in", exact: true }).click();
    await page.getByText("Wrong user or password").waitFor();
    await page.getByLabel("Password").fill("secret");
    await page.getByRole("button", { name: "Log in", exact: true }).click();
    await call(page, "restock", "");
    await result(page, "ann did it");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("button", { name: "restock" }).waitFor({ state: "detached" });
  });
});

test(
  "a person watches a topic in the inspector, with what it keeps, also after a reconnect",
  chromium,
  async () => {
    await inspect("node", async (page) => {
      await show(page, "Topics");
      await page.getByRole("list", { name: "Topics of the server" }).getByRole("button", {
        name: "prices",
      }).click();
      assertEquals(await page.getByLabel("Topic", { exact: true }).inputValue(), "prices");
      await page.getByLabel("Newest kept events").fill("2");
      await page.getByRole("button", { name: "Subscribe", exact: true }).click();
      const events = page.getByRole("list", { name: "Events" }).getByRole("listitem");
      await events.filter({ hasText: '{"value":3}' }).waitFor();
      assertEquals(await events.count(), 2);
      await show(page, "Methods");
      await call(page, "leave", "");
      await state(page, "closed (4000: Enough)");
      await state(page, "connected");
      await call(page, "price", "[4]");
      await show(page, "Topics");
      await events.filter({ hasText: '{"value":4}' }).waitFor();
      assertEquals(await events.count(), 3);
      await page.getByLabel("Topic", { exact: true }).fill("nothing");
      await page.getByRole("button", { name: "Subscribe", exact: true }).click();
      await page.getByRole("alert").filter({ hasText: 'There is no topic "nothing" for you' })
        .waitFor();
      await page.getByRole("button", { name: "Unsubscribe from prices" }).click();
    });
  },
);

test(
  "the inspector keeps the newest 10,000 frames, and only few rows of them in the page",
  chromium,
  async () => {
    await inspect("node", async (page) => {
      await call(page, "flood", "[12000]");
      await result(page, "12000");
      await show(page, "Frames");
      await page.getByRole("status").filter({ hasText: "10000 frames" }).waitFor();
      const rows = page.locator("#frame-rows button");
      assert(await rows.count() < 100, `${await rows.count()}`);
      await page.locator("#frames").getByLabel("Filter").fill("[11999]");
      await page.getByRole("status").filter({ hasText: /^1 frames/ }).waitFor();
      await page.locator("#frame-view").press("ArrowUp");
      assertMatch(await page.locator("#frame-text").textContent() ?? "", /"method": "tick"/);
      await page.getByRole("button", { name: "Pause" }).click();
      await page.getByRole("button", { name: "Clear" }).click();
      await page.getByRole("status").filter({ hasText: "0 frames, paused" }).waitFor();
    });
  },
);

test(
  "the inspector passes axe in both colour schemes, on a desktop and on a phone",
  chromium,
  async () => {
    const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");
    await inspect("node", async (page) => {
      await call(page, "add", '{ "a": 1 }');
      await page.evaluate(axe);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        for (
          const [device, width, height] of [["desktop", 1280, 800], ["phone", 390, 844]] as const
        ) {
          await page.setViewportSize({ width, height });
          for (const view of ["Topics", "Frames", "Methods"]) {
            await show(page, view);
            const violations = await page.evaluate(
              "axe.run().then(({ violations }) => violations)",
            ) as {
              id: string;
              nodes: { html: string }[];
            }[];
            assertEquals(
              violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
              [],
            );
            const overflow = "document.documentElement.scrollWidth - innerWidth";
            assertEquals(await page.evaluate(overflow), 0, `${view} is wider than a ${device}`);
            await page.screenshot({
              path: `${pictures}${view.toLowerCase()}-${device}-${colorScheme}.png`,
            });
          }
        }
      }
    });
  },
);
