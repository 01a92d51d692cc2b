/**
 * The README and the guides: their links lead somewhere, and the files and tasks that they name exist.
 */
import { assert, assertEquals } from "@std/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);
const MAX_README_LINES = 150;
// Texts of others that users of this module see.
const FOREIGN = ["login", "Promise.withResolvers is not a function"];

const guides = readdirSync(new URL("docs", root), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/${name.replaceAll("\\", "/")}`);
const pages = ["README.md", ...guides].sort();

function read(path: string): string {
  return readFileSync(new URL(path, root), "utf8");
}

/** Splits a page into its prose and its code blocks. */
function split(page: string): { readonly prose: string; readonly code: string } {
  const fence = /^( *)```[^]*?^\1``` *$/gm;
  const text = read(page);
  return { prose: text.replace(fence, ""), code: (text.match(fence) ?? []).join("\n") };
}

/** Gives the anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): string[] {
  const seen = new Map<string, number>();
  return [...split(page).prose.matchAll(/^#{1,6} +(.*)$/gm)].map(([, heading = ""]) => {
    const anchor = heading.trim().toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-");
    const count = seen.get(anchor) ?? 0;
    seen.set(anchor, count + 1);
    return count === 0 ? anchor : `${anchor}-${count}`;
  });
}

/** Gives a page's links that lead to no file, or to no heading of it. */
function brokenLinks(page: string): string[] {
  const links = [...split(page).prose.matchAll(/\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]: +(\S+)/gm)]
    .map(([, inline, reference]) => inline ?? reference ?? "")
    .filter((link) => !/^[a-z]+:/i.test(link));
  return links.filter((link) => {
    const [path = "", anchor] = link.split("#");
    const target = path === ""
      ? page
      : new URL(path, new URL(page, root)).href.slice(root.href.length);
    if (!existsSync(new URL(target, root))) return true;
    return anchor !== undefined && target.endsWith(".md") && !anchorsOf(target).includes(anchor);
  });
}

/** Gives the files that a page names and that do not exist. A reader's own project may have a `src`. */
function missingFiles(page: string): string[] {
  const { prose, code } = split(page);
  const inProse = prose.match(/(?<![\w./@-])(?:docs|examples|src|tests|tools)\/[\w./-]*\w/g) ?? [];
  const inCode = code.match(/(?<![\w./@-])(?:examples|tests|tools)\/[\w./-]*\w/g) ?? [];
  return [...inProse, ...inCode].filter((file) => !existsSync(new URL(file, root)));
}

test("anchorsOf() gives the anchors of GitHub", () => {
  assertEquals(anchorsOf("docs/guarantees.md")[0], "what-is-guaranteed");
  assert(pages.every((page) => anchorsOf(page).length > 0));
});

for (const page of pages) {
  test(`each relative link and anchor of ${page} leads somewhere`, () => {
    assertEquals(brokenLinks(page), []);
  });

  test(`each file and each task that ${page} names exists`, () => {
    assertEquals(missingFiles(page), []);
    const { tasks } = JSON.parse(read("deno.json")) as { tasks: object };
    const named = [...read(page).matchAll(/deno task ([\w:]+)/g)].map(([, name = ""]) => name);
    assertEquals(named.filter((name) => !Object.hasOwn(tasks, name)), []);
  });
}

test(`the README has at most ${MAX_README_LINES} lines, and links to each guide`, () => {
  const text = read("README.md");
  const lines = text.trimEnd().split("\n").length;
  assert(lines <= MAX_README_LINES, `${lines} lines`);
  assertEquals(guides.filter((guide) => !text.includes(`(./${guide}`)), []);
});

test("each text in docs/troubleshooting.md is one of the source", () => {
  const sources = readdirSync(new URL("src", root), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts")).map((name) => read(`src/${name}`)).join("\n");
  const cells = [...read("docs/troubleshooting.md").matchAll(/^\| (?:\d{4} )?`([^`]+)`(?! of )/gm)]
    .map(([, text = ""]) => text).filter((text) => !FOREIGN.includes(text));
  assert(cells.length > 30);
  // What stands for `…` is put together at run time.
  const missing = cells.filter((text) =>
    text.split("…").some((part) => !sources.includes(part.trim().replace(/^"|"$|[:(]$/g, "")))
  );
  assertEquals(missing, []);
});

test("each guide that README links to is published with it", () => {
  const { publish } = JSON.parse(read("deno.json")) as { publish: { include: string[] } };
  assertEquals(["docs", "README.md"].filter((name) => !publish.include.includes(name)), []);
});
