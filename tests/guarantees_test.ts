import { assert } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);
const suite = readdirSync(new URL("tests/conformance", root)).map((file) =>
  read(`tests/conformance/${file}`)
).join("\n");

function read(path: string): string {
  return readFileSync(new URL(path, root), "utf8");
}

/** The tests that one line names: a file, and words from titles of tests in it where it names some. */
function namedIn(row: string): { readonly file: string; readonly titles: readonly string[] }[] {
  const [, , cell = ""] = row.split("|");
  return [...cell.matchAll(/`(\w+_test\.ts)`(?:: ([^`]+))?/g)].map((
    [, file = "", titles = ""],
  ) => ({
    file,
    titles: titles.split(";").map((each) => each.trim()).filter((each) => each !== ""),
  }));
}

test("each guarantee in the README names tests that exist", () => {
  const [, section = ""] = /^## What is guaranteed\n([^]*?)^## /m.exec(read("README.md")) ?? [];
  const rows = section.split("\n").filter((line) => /^\| [A-Z0-9]/.test(line));
  assert(rows.length > 5);
  for (const row of rows) {
    assert(namedIn(row).length > 0, `No test is named: ${row}`);
    for (const { file, titles } of namedIn(row)) {
      const text = read(`tests/${file}`) + (file === "runtimes_test.ts" ? suite : "");
      for (const title of titles) assert(text.includes(title), `${file} has no test "${title}"`);
    }
  }
});
