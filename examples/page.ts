/**
 * A plugin that serves a page and, made for browsers, the client that the page imports.
 *
 *     rpc.use(await page("page.html")); // as server.ts and chat.ts do
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { promisify } from "node:util";
import type { Plugin } from "@x/jsonrpc/plugin";

/** Serves a file of this folder at `/`, and the client at `/client.js`. */
export async function page(file: string): Promise<Plugin> {
  const html = await readFile(new URL(file, import.meta.url), "utf8");
  const client = await bundle("src/client/client.ts");
  return {
    name: "page",
    fetch({ url, method }) {
      const { pathname } = new URL(url);
      if (method !== "GET" || !(pathname === "/" || pathname === "/client.js")) return undefined;
      const [text, type] = pathname === "/" ? [html, "text/html"] : [client, "text/javascript"];
      return new Response(text, { headers: { "content-type": `${type}; charset=utf-8` } });
    },
  };
}

/** One file of browser's JavaScript. Your project runs its own bundler when it is built. */
export async function bundle(entry: string): Promise<string> {
  const deno = process.versions["deno"] === undefined ? "deno" : process.execPath;
  const args = ["bundle", "--quiet", "--platform", "browser", "--minify", entry];
  const run = (program: string, ...first: string[]) =>
    promisify(execFile)(program, [...first, ...args], { cwd: new URL("..", import.meta.url) });
  const { stdout } = await run(deno).catch((error) => {
    // Bun and Node may be alone on a machine; then npm brings Deno for this.
    if (error.code === "ENOENT") return run("npx", "-y", "deno");
    throw error;
  });
  return stdout;
}
