/**
 * Puts the inspector's page together, from the files in src/inspector/page/ into src/inspector/page.ts, with
 * the hashes that its Content-Security-Policy needs: `deno task inspector`.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const folder = new URL("../src/inspector/", import.meta.url);
const SCRIPTS = ["dom", "wire", "fields", "methods", "topics", "secrets", "frames", "main"];

function read(name: string): string {
  return readFileSync(new URL(`page/${name}`, folder), "utf8");
}

/** The hash of what stands between the tags of an element of the page. */
function hash(html: string, name: "script" | "style"): string {
  const [, text = ""] = new RegExp(`<${name}>([^]*)</${name}>`).exec(html) ?? [];
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}

/** The source of page.ts. */
export function inspectorPage(): string {
  // One function: nothing of the page is global.
  const script = `(() => {\n"use strict";\n${
    SCRIPTS.map((name) => read(`${name}.js`)).join("\n")
  }})();`;
  const html = read("index.html")
    .replace("/* style.css */", () => read("style.css"))
    .replace("/* script.js */", () => script);
  if (html.split(/<\/(?:script|style)>/i).length !== 3) {
    throw new Error("The page would end too early");
  }
  return `// Made by \`deno task inspector\` from the files in page/. Do not edit.\n\n` +
    `/** The whole page: no other file belongs to it. */\n` +
    `export const PAGE: string = ${JSON.stringify(html)};\n\n` +
    `/** What its Content-Security-Policy allows to run. */\n` +
    `export const SCRIPT_HASH: string = ${JSON.stringify(hash(html, "script"))};\n\n` +
    `/** What its Content-Security-Policy allows to style. */\n` +
    `export const STYLE_HASH: string = ${JSON.stringify(hash(html, "style"))};\n`;
}

if (import.meta.main) writeFileSync(new URL("page.ts", folder), inspectorPage());
