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

interface NamedTests {
  readonly file: string;
  readonly titles: readonly string[];
}

/** The tests that one row names: a file, and words from titles of tests in it if it names some. */
function namedIn(row: string): NamedTests[] {
  const [, , cell = ""] = row.split("|");
  return [...cell.matchAll(/`([\w/]+_test\.ts)`(?:: ([^`]+))?/g)].map((
    [, file = "", titles = ""],
  ) => ({
    file,
    titles: titles.split(";").map((each) => each.trim()).filter((each) => each !== ""),
  }));
}

/** What a test file says; the conformance suite is spread over the files of its folder. */
function textOf(file: string): string {
  return file.startsWith("conformance/") ? suite : read(`tests/${file}`);
}

test("each guarantee in docs/guarantees.md names tests that exist", () => {
  const rows = read("docs/guarantees.md").split("\n").filter((line) => /^\| [A-Z0-9]/.test(line));
  assert(rows.length > 30);
  for (const row of rows) {
    assert(namedIn(row).length > 0, `No test is named: ${row}`);
    for (const { file, titles } of namedIn(row)) {
      const text = textOf(file);
      for (const title of titles) assert(text.includes(title), `${file} has no test "${title}"`);
    }
  }
});
