import { assertEquals } from "@std/assert";
import { dirname } from "node:path";
import process from "node:process";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { withChromium } from "./helpers/chromium.ts";
import { freePort } from "./helpers/ports.ts";
import { runtime } from "./helpers/runtimes.ts";
import type { RuntimeName } from "./helpers/runtimes.ts";
import { spawnServer } from "./helpers/spawn_server.ts";
import type { SpawnedServer } from "./helpers/spawn_server.ts";
import { needs } from "./helpers/needs.ts";

const chromium = await needs("chromium", "deno");

for (const name of ["deno", "bun", "node"] as const) {
  // Deno bundles the page.
  const needed = await needs("chromium", "deno", name);

  test(
    `the page shows the clock, the answers and the errors of a server on ${name}`,
    needed,
    async () => {
      await withServer(name, "examples/server.ts", ({ url }) =>
        withChromium(async (visit) => {
          const page = await visit(url);
          await status(page, "Connected");
          await assertTicks(page);
          await page.getByRole("button", { name: "ping", exact: true }).waitFor();

          await call(page, "add", '{"a": 19, "b": 23}');
          await answer(page, 'add {"a":19,"b":23}', "42");

          await call(page, "add", '{"a": 19, "b": "two"}');
          await answer(page, "two", "Invalid params (-32602)\nExpected two numbers, `a` and `b`");

          await call(page, "no_such_method", "");
          await answer(page, "no_such_method", "Method not found (-32601)");

          await call(page, "add", "{a: 1}");
          await wrong(page, "These params are no JSON.");
          await call(page, "add", "5");
          await wrong(page, "Params are an array or an object");
          assertEquals(await page.getByLabel("Params").getAttribute("aria-invalid"), "true");
          // Invalid params were not sent.
          assertEquals(await page.getByRole("listitem").filter({ hasText: "add" }).count(), 3);

          await call(page, "add", "[1, 2]");
          await answer(page, "add [1,2]", "3");
          assertEquals(await page.getByLabel("Params").getAttribute("aria-invalid"), "false");
        }));
    },
  );

  test(`the page lets a person answer the question of a server on ${name}`, needed, async () => {
    await withServer(name, "examples/server.ts", ({ url }) =>
      withChromium(async (visit) => {
        const page = await visit(url);
        await status(page, "Connected");
        const question = page.getByRole("dialog", { name: "The server asks" });
        const replies = [
          [() => question.getByRole("button", { name: "Yes" }).click(), "formatted"],
          [() => question.getByRole("button", { name: "No" }).click(), "kept as it is"],
          [() => page.keyboard.press("Escape"), "kept as it is"],
          [() => page.keyboard.press("Enter"), "kept as it is"],
        ] as const;
        for (const [reply, result] of replies) {
          await call(page, "format_disk", "");
          await question.getByText("Really format the disk?").waitFor();
          await reply();
          await question.waitFor({ state: "hidden" });
          await answer(page, "format_disk", `"${result}"`);
        }
      }));
  });

  test(
    `the page shows when a server on ${name} is away, and reconnects`,
    needed,
    async () => {
      const PORT = String(await freePort());
      await withServer(name, "examples/server.ts", async (server) => {
        await withChromium(async (visit) => {
          const page = await visit(server.url);
          await status(page, "Connected");
          await call(page, "format_disk", "");
          await page.getByRole("dialog").waitFor();

          await server.stop();
          await status(page, "Not connected");
          await page.getByRole("dialog").waitFor({ state: "hidden" });
          await answer(page, "format_disk", 'No answer to "format_disk"');
          await page.getByRole("alert").filter({ hasText: "The server" }).waitFor();
          await page.getByText("Stopped: not connected.").waitFor();
          await call(page, "ping", "");
          await wrong(page, "Not connected: nothing was sent.");
          await page.getByRole("button", { name: "Try now" }).click();
          await page.getByText("cannot be reached").waitFor();

          await withServer(name, "examples/server.ts", async () => {
            await status(page, "Connected");
            await page.getByText("cannot be reached").waitFor({ state: "hidden" });
            await assertTicks(page);
            await call(page, "ping", "");
            await answer(page, "ping", '"pong"');
          }, { PORT });
        });
      }, { PORT });
    },
  );
}

test("no page is served under a foreign host name", chromium, async () => {
  await withServer("deno", "examples/server.ts", ({ url }) =>
    withChromium(async (visit) => {
      // Browsers resolve names below localhost to this machine, as DNS may resolve a foreign name.
      const page = await visit(url.replace("127.0.0.1", "foreign.localhost"));
      await page.getByText("Host not allowed").waitFor();
    }));
});

test("the page of the chat lets people in a room talk, and lists them", chromium, async () => {
  await withServer("deno", "examples/chat.ts", ({ url }) =>
    withChromium(async (visit) => {
      const [ada, bob, eve] = [await visit(url), await visit(url), await visit(url)];
      await enter(ada, "Ada", "lobby");
      await enter(bob, "Bob", "lobby");
      await enter(eve, "Eve", "kitchen");
      for (const page of [ada, bob]) await people(page, "AdaBob");
      await people(eve, "Eve");

      await say(ada, "Hello <b>Bob</b>");
      await said(bob, /^Ada.*Hello <b>Bob<\/b>$/);
      await say(bob, "Hello Ada");
      await said(ada, /^Bob.*Hello Ada$/);
      assertEquals(await eve.getByRole("log").textContent(), "");

      await enter(eve, "Eve", "lobby");
      for (const page of [ada, bob, eve]) await people(page, "AdaBobEve");
      await bob.close();
      for (const page of [ada, eve]) await people(page, "AdaEve");

      await enter(ada, "Ada", "no such.room");
      await ada.getByRole("alert").filter({ hasText: "A room is named by" }).waitFor();
    }));
});

/** Starts an example that serves a page, and ends it. */
async function withServer(
  name: RuntimeName,
  file: string,
  use: (server: SpawnedServer) => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { command: [deno] } = await runtime("deno");
  // The page is bundled by Deno.
  const PATH = `${dirname(deno)}:${process.env.PATH}`;
  const PORT = String(await freePort());
  const server = await spawnServer(name, file, [], { PATH, PORT, ...env });
  try {
    await use(server);
  } finally {
    await server.stop();
  }
}

// -- what a person does and sees --

async function status(page: Page, text: string): Promise<void> {
  await page.getByRole("status").filter({ hasText: new RegExp(`^${text}$`) }).waitFor();
}

async function assertTicks(page: Page): Promise<void> {
  for (let ticks = 0; ticks < 2; ticks++) {
    const before = await page.getByRole("time").textContent() ?? "";
    await page.getByRole("time").filter({ hasNotText: before }).waitFor();
  }
  await page.getByText("The server said 20").waitFor();
}

async function call(page: Page, method: string, params: string): Promise<void> {
  await page.getByLabel("Method", { exact: true }).fill(method);
  await page.getByLabel("Params").fill(params);
  await page.getByRole("button", { name: "Call" }).click();
}

/** Waits until the newest answer is that to a call, and shows a text. */
async function answer(page: Page, to: string, text: string): Promise<void> {
  const newest = page.getByRole("log", { name: "Answers" }).getByRole("listitem").first();
  await newest.filter({ hasText: to }).getByText(text).waitFor();
}

async function wrong(page: Page, text: string): Promise<void> {
  await page.getByRole("region", { name: "Call a method" }).getByRole("alert")
    .filter({ hasText: text }).waitFor();
}

async function enter(page: Page, name: string, room: string): Promise<void> {
  await status(page, "Connected");
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Room", { exact: true }).fill(room);
  await page.getByRole("button", { name: "Enter" }).click();
}

async function people(page: Page, names: string): Promise<void> {
  const list = page.getByRole("list", { name: "In the room" });
  await list.filter({ hasText: new RegExp(`^\\s*${names}\\s*$`) }).waitFor();
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Say" }).click();
}

async function said(page: Page, text: RegExp): Promise<void> {
  await page.getByRole("log").getByRole("listitem").filter({ hasText: text }).waitFor();
}

test(
  "the tabs of tabs/server.ts count together, over the one connection of tabs/worker.ts",
  chromium,
  async () => {
    await withServer("deno", "examples/tabs/server.ts", ({ url }) =>
      withChromium(async (visit) => {
        const first = await visit(url);
        await first.waitForFunction('connections.textContent === "1"');
        const second = await first.context().newPage();
        await second.goto(url);
        await second.waitForFunction('connections.textContent === "1"');
        await first.getByRole("button").click();
        await second.getByRole("button").click();
        for (const page of [first, second]) {
          await page.waitForFunction('count.textContent === "2"');
        }
      }));
  },
);
