/**
 * README, CHANGELOG and the guides: how long they are, that their links lead somewhere, and that no example in
 * them is left unchecked by accident.
 */
import { assert, assertEquals } from "@std/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);
const guides = readdirSync(new URL("docs", root)).filter((file) => file.endsWith(".md"))
  .map((file) => `docs/${file}`);
const pages = ["README.md", "CHANGELOG.md", ...guides];
const { publish } = JSON.parse(read("deno.json")) as { publish: { include: string[] } };

function read(path: string): string {
  return readFileSync(new URL(path, root), "utf8");
}

/** The text without its fences, in which a `#` is a comment and brackets are code. */
function proseOf(page: string): string {
  return read(page).replace(/^```[^]*?^```$/gm, "").replace(
    /`[^`\n]*`/g,
    (code) => code.slice(1, -1),
  );
}

/** The anchors that Git hosts and the registry make of headings. */
function anchorsOf(page: string): Set<string> {
  const headings = [...proseOf(page).matchAll(/^#+ (.+)$/gm)];
  return new Set(
    headings.map(([, title = ""]) =>
      title.toLowerCase().replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-")
    ),
  );
}

interface Link {
  readonly page: string;
  readonly target: string;
}

function linksOf(page: string): Link[] {
  return [...proseOf(page).matchAll(/\]\((?!\w+:)([^)\s]+)\)/g)]
    .map(([, target = ""]) => ({ page, target }));
}

function isPublished(path: string): boolean {
  return publish.include.some((entry) => path === entry || path.startsWith(`${entry}/`));
}

test("README.md has at most 150 lines, and leads to every guide", () => {
  const text = read("README.md");
  assert(text.trimEnd().split("\n").length <= 150);
  assertEquals(guides.filter((guide) => !text.includes(`(./${guide})`)), []);
});

test("each link of README.md, CHANGELOG.md and the guides leads to a part of a file that is published", () => {
  for (const { page, target } of pages.flatMap(linksOf)) {
    const [path = "", anchor] = target.split("#");
    const file = path === ""
      ? page
      : new URL(path, new URL(page, root)).href.slice(root.href.length);
    assert(existsSync(new URL(file, root)), `${page} links to ${target}: there is no ${file}`);
    assert(isPublished(file), `${page} links to ${target}: ${file} is not published`);
    if (anchor !== undefined) {
      assert(anchorsOf(file).has(anchor), `${page} links to ${target}: no such heading`);
    }
  }
});

test("each example named in README.md and the guides is there", () => {
  for (const page of pages) {
    for (const [, path = ""] of read(page).matchAll(/`((?:examples|tests)\/[\w./]+)`/g)) {
      assert(existsSync(new URL(path, root)), `${page} names ${path}`);
    }
  }
});

test("each fence of README.md and the guides says its language, so that TypeScript is checked", () => {
  const known = [
    "ts",
    "ts ignore",
    "js ignore",
    "jsonc",
    "json",
    "sh",
    "text",
    "nginx",
    "python",
    "html",
  ];
  for (const page of pages) {
    const fences = [...read(page).matchAll(/^```(.*)$/gm)].map(([, info]) => info);
    assertEquals(fences.length % 2, 0, `${page} leaves a fence open`);
    for (let index = 0; index < fences.length; index += 2) {
      assert(known.includes(fences[index] ?? ""), `${page} has a fence of "${fences[index]}"`);
      assertEquals(fences[index + 1], "", page);
    }
  }
});
