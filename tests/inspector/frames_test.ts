/**
 * The frames of all connections in the inspector, for those who may watch them.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { connect, JsonRpc, loginRequired } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { inspector } from "@x/jsonrpc/inspector";
import { testClient } from "@x/jsonrpc/testing";
import { withChromium } from "../helpers/chromium.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { serveHere } from "../helpers/server.ts";
import { spawnServer } from "../helpers/spawn_server.ts";

const chromium = await needs("chromium");
const pictures = fileURLToPath(new URL("../../coverage/inspector/", import.meta.url));
mkdirSync(pictures, { recursive: true });

interface Frames {
  readonly frames: readonly { direction: string; connection: number; text: string }[];
  readonly lost: number;
}

function testServer(trace: true | (typeof loginRequired)[] = [loginRequired]) {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).use(inspector({ trace }))
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("enter", (_params: { password: string }) => true)
    .method("flood", ([count]: [number], { connection }) => {
      for (let n = 0; n < count; n++) connection.notify("tick", [n]);
    })
    .method("leave", (_params: unknown, { connection }) => connection.logout());
  return { rpc: rpc as unknown as JsonRpc, logger };
}

/** A client with a user, who may watch. */
async function adminOf(rpc: JsonRpc): Promise<JsonRpcClient> {
  return await testClient(rpc, {
    user: { name: "ada" } as unknown as null,
  }) as unknown as JsonRpcClient;
}

/** A client that keeps the frames that it is sent. */
function watcher(client: JsonRpcClient) {
  const seen: string[] = [];
  const notified: Frames[] = [];
  client.method("rpc.frames", (params: Frames) => {
    notified.push(params);
    seen.push(...params.frames.map((each) => `${each.direction} #${each.connection} ${each.text}`));
  });
  return { seen, notified };
}

test("inspector({ trace }) sends the frames of other connections to those who may watch", async () => {
  const { rpc, logger } = testServer();
  await using stranger = await testClient(rpc) as unknown as JsonRpcClient;
  const refused = await stranger.call("rpc.frames", { on: true }).catch((error) => error.code);
  assertEquals(refused, -32601);
  await using admin = await adminOf(rpc);
  const { seen } = watcher(admin);
  await stranger.call("add", [0, 0]);
  assertEquals(await admin.call("rpc.frames", { on: true }), true);
  assertMatch(logger.text, /a client watches the frames of all connections/);
  await admin.call("add", [1, 1]);
  await stranger.call("add", [1, 2]);
  await stranger.call("enter", { password: "hunter2" });
  await until(() => seen.length === 4);
  assertEquals(seen, [
    'in #1 {"jsonrpc":"2.0","method":"add","params":[1,2],"id":3}',
    'out #1 {"jsonrpc":"2.0","result":3,"id":3}',
    'in #1 {"jsonrpc":"2.0","method":"enter","params":{"password":"***"},"id":4}',
    'out #1 {"jsonrpc":"2.0","result":true,"id":4}',
  ]);
  assertEquals(await admin.call("rpc.frames", { on: false }), false);
  await stranger.call("add", [1, 2]);
  for (let turn = 0; turn < 10; turn++) await quietMoment();
  assertEquals(seen.length, 4);
});

test("inspector({ trace }) shows POSTs, and ends watching with the user's right", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using admin = await adminOf(rpc);
  const { seen } = watcher(admin);
  await admin.call("rpc.frames", { on: true });
  const post = async () => {
    await using client = await connect(server.url) as unknown as JsonRpcClient;
    assertEquals(await client.call("add", [1, 2]), 3);
  };
  await post();
  await until(() => seen.length === 2);
  assertMatch(seen.join("\n"), /^in #2 .*"add".*\nout #2 .*"result":3/);
  await admin.call("leave");
  await post();
  for (let turn = 0; turn < 10; turn++) await quietMoment();
  assertEquals(seen.length, 2);
});

test("inspector({ trace }) keeps few frames for a watcher, cuts long ones, and says what is lost", async () => {
  const { rpc } = testServer(true);
  await using admin = await testClient(rpc) as unknown as JsonRpcClient;
  await using other = await testClient(rpc) as unknown as JsonRpcClient;
  const { seen, notified } = watcher(admin);
  await admin.call("rpc.frames", { on: true });
  await other.call("flood", [5000]);
  await other.call("add", ["x".repeat(10_000), ""]);
  await until(() => seen.some((text) => text.includes("xxx")));
  const lost = notified.reduce((sum, each) => sum + each.lost, 0);
  assert(lost > 0 && notified.every(({ frames }) => frames.length <= 1000), `${lost}`);
  assert(seen.every((text) => text.length < 4200));
});

test("inspector() alone has no method that shows frames", async () => {
  const rpc: JsonRpc = new JsonRpc().use(inspector());
  await using client = await testClient(rpc) as unknown as JsonRpcClient;
  const methods = await client.call("get_methods") as string[];
  assert(!methods.includes("rpc.frames"));
});

async function logIn(page: Page): Promise<void> {
  await page.locator("#login summary").click();
  await page.getByLabel("User").fill("ann");
  await page.getByLabel("Password").fill("secret");
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByText("Done").waitFor();
  await page.locator("#login summary").click();
}

/** On a phone the filter and the box have a row each, and the buttons share one of equal shares. */
async function hasTidyBar(page: Page): Promise<void> {
  const bar = page.locator("#frames .bar");
  const { width } = await bar.boundingBox() ?? { width: 0 };
  for (const label of await bar.locator("label").all()) {
    assertEquals((await label.boundingBox())?.width, width, await label.textContent() ?? "");
  }
  const buttons = await Promise.all(
    (await bar.locator("button").all()).map((each) => each.boundingBox()),
  );
  assertEquals(buttons.length, 3);
  for (const button of buttons) {
    assertEquals(button?.y, buttons[0]?.y);
    assert(Number(button?.width) > width / 4, `${button?.width} of ${width}`);
  }
}

for (const name of ["deno", "bun", "node"] as const) {
  const needed = chromium.skip ? chromium : await needs(name);
  test(`${name}: a person who may watches other connections in the inspector`, needed, async () => {
    const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");
    const server = await spawnServer(name, "tests/programs/inspected_server.ts");
    try {
      await using other = await connect(server.url.replace("http", "ws")) as unknown as
        & JsonRpcClient
        & AsyncDisposable;
      await withChromium(async (visit) => {
        const page = await visit(server.url);
        await page.locator("#state").filter({ hasText: "connected" }).waitFor();
        await page.getByRole("navigation").getByRole("button", { name: "Frames" }).click();
        const box = page.getByLabel("Other connections too");
        assertEquals(await box.isVisible(), false);
        await logIn(page);
        await box.check();
        const row = page.locator("#frame-rows button");
        await row.filter({ hasText: "rpc.frames" }).first().waitFor();
        await other.call("add", { a: 20, b: 22 });
        await other.call("login", { username: "bob", password: "hunter2" });
        await row.filter({ hasText: /#1 → .*"result":42/ }).waitFor();
        await page.locator("#frames").getByLabel("Filter").fill("#1 login");
        await page.getByRole("status").filter({ hasText: /^1 frames/ }).waitFor();
        await row.first().click();
        const shown = await page.locator("#frame-text").textContent() ?? "";
        assertMatch(shown, /"username": "bob"[^]*"password": "\*\*\*"/);
        assertMatch(
          await page.locator("#frame-title").textContent() ?? "",
          /^Received by the server, connection 1, at /,
        );
        await page.locator("#frames").getByLabel("Filter").fill("");
        await page.evaluate(axe);
        for (
          const [device, width, height] of [["desktop", 1280, 800], ["phone", 390, 844]] as const
        ) {
          await page.setViewportSize({ width, height });
          const ids = "axe.run().then(({ violations }) => violations.map(({ id }) => id))";
          assertEquals(await page.evaluate(ids), []);
          const overflow = "document.documentElement.scrollWidth - innerWidth";
          assertEquals(await page.evaluate(overflow), 0, device);
          await page.screenshot({ path: `${pictures}others-${device}.png` });
          if (device === "phone") await hasTidyBar(page);
        }
        await box.uncheck();
      });
    } finally {
      await server.stop();
    }
  });
}
