/**
 * The pages of examples/vite, built by Vite and used in Chromium as a person would.
 */
import { assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createElement, useSyncExternalStore } from "react";
import { renderToString } from "react-dom/server";
import { JsonRpc, JsonRpcClient } from "@x/jsonrpc";
import { topicStore } from "@x/jsonrpc/store";
import { withChromium } from "../helpers/chromium.ts";
import { until } from "../helpers/deferred.ts";
import { needs } from "../helpers/needs.ts";
import { serveHere } from "../helpers/server.ts";

// Deno finds the packages of deno.json where Vite looks for them.
const needed = await needs("on deno", "chromium");
let pages: Promise<string> | undefined;
after(async () => {
  if (pages !== undefined) await rm(await pages, { recursive: true });
});

/** Builds the pages, once; gives the folder that has them. */
function build(): Promise<string> {
  return pages ??= (async () => {
    const out = await mkdtemp(join(tmpdir(), "vite-"));
    const cwd = fileURLToPath(new URL("../../examples/vite", import.meta.url));
    const args = ["run", "-A", "npm:vite", "build", "--outDir", out, "--emptyOutDir"];
    await promisify(execFile)(process.execPath, args, { cwd });
    return out;
  })();
}

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

async function testServer() {
  const folder = await build();
  return new JsonRpc()
    .use({
      name: "files",
      async fetch(request) {
        const { pathname } = new URL(request.url);
        if (request.headers.has("upgrade") || !(extname(pathname) in TYPES)) return undefined;
        const type = TYPES[extname(pathname)] as string;
        return new Response(await readFile(join(folder, pathname)), {
          headers: { "content-type": type },
        });
      },
    })
    .method("add", ([a, b]: [number, number]) => a + b)
    .topic("clock", { retain: true });
}

for (const framework of ["react", "vue", "svelte"]) {
  test(`a page of ${framework} shows a topic and a call, and subscribes once`, needed, async () => {
    const rpc = await testServer();
    rpc.publish("clock", "noon");
    await using server = await serveHere(rpc);
    await withChromium(async (visit) => {
      const page = await visit(`${server.url}/${framework}.html`);
      await page.getByText("The sum is 3").waitFor();
      await until(async () => await page.getByText("It is noon").count() === 2);
      rpc.publish("clock", "one");
      await until(async () => await page.getByText("It is one").count() === 2);
      assertEquals(rpc.connections.size, 1);
      assertEquals([...rpc.subscribers(["clock"])].length, 1);
      assertEquals(rpc.publish("clock", "two").deliveries, 1);

      await page.getByRole("button", { name: "Hide" }).click();
      await until(() => [...rpc.subscribers(["clock"])].length === 0);
      rpc.publish("clock", "three");
      await page.getByRole("button", { name: "Show" }).click();
      await until(async () => await page.getByText("It is three").count() === 2);
      assertEquals([...rpc.subscribers(["clock"])].length, 1);
    });
  });
}

test("a server that renders a page of React opens no connection", () => {
  const client = new JsonRpcClient("ws://127.0.0.1:9");
  const { subscribe, getSnapshot, getServerSnapshot } = topicStore(client, "clock", {
    initial: "soon",
  });
  const Clock = () =>
    createElement("p", null, useSyncExternalStore(subscribe, getSnapshot, getServerSnapshot));
  assertEquals(renderToString(createElement(Clock)), "<p>soon</p>");
  assertEquals(client.state, "idle");
});
