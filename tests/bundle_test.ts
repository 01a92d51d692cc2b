/**
 * The size of the client in a page: the part that it needs before it can talk over a WebSocket, and the whole in
 * one file, as a bundler makes it that splits nothing.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { bundle } from "./helpers/bundle.ts";
import { needs } from "./helpers/needs.ts";

const deno = await needs("deno");

// What a page costs. Lower these whenever something is won, and raise neither without a reason that a page's user
// would accept.
const MAX_AT_FIRST = 11_900;
// With what posts, and reads the events of an answer to a POST.
const MAX_IN_ONE_FILE = 13_000;
// Loaded with the first call over HTTP.
const LATER = ["http"];

/** Gives a file and all that it imports before it runs, without what it loads by `import()`. */
function loadedWith(
  name: string,
  files: ReadonlyMap<string, string>,
  loaded = new Set<string>(),
): Set<string> {
  loaded.add(name);
  const imports = (files.get(name) ?? "").matchAll(/(?:\bfrom|\bimport) ?"\.\/(?<to>[^"]+)"/g);
  for (const { groups } of imports) {
    const to = groups?.to ?? "";
    if (!loaded.has(to)) loadedWith(to, files, loaded);
  }
  return loaded;
}

function gzipped(texts: Iterable<string>): number {
  return [...texts].reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0);
}

test("loadedWith() follows all imports except dynamic ones", () => {
  const files = new Map([
    ["a.js", 'import{x as y}from"./b.js";import"./c.js";export*from"./d.js";import("./e.js")'],
    ["d.js", 'import z from "./f.js";import{y}from"./a.js";'],
  ]);
  assertEquals([...loadedWith("a.js", files)].sort(), ["a.js", "b.js", "c.js", "d.js", "f.js"]);
});

test(
  `a page loads at most ${MAX_AT_FIRST} bytes of the client at first, minified and gzipped`,
  deno,
  async () => {
    const files = await bundle("--code-splitting", "src/client/client.ts");
    assert(files.get("client.js")?.includes("JsonRpcClient"));
    const loaded = loadedWith("client.js", files);
    const later = [...files.keys()].filter((name) => !loaded.has(name));
    assertEquals(later.map((name) => name.replace(/-.*/, "")).sort(), LATER);
    const bytes = gzipped([...loaded].map((name) => files.get(name) ?? ""));
    assert(bytes <= MAX_AT_FIRST, `${[...loaded]} have ${bytes} bytes`);
  },
);

test(
  `the whole client is at most ${MAX_IN_ONE_FILE} bytes in one file, minified and gzipped`,
  deno,
  async () => {
    const files = await bundle("src/client/client.ts");
    assertEquals([...files.keys()], ["client.js"]);
    const bytes = gzipped(files.values());
    assert(bytes <= MAX_IN_ONE_FILE, `client.js has ${bytes} bytes`);
  },
);
