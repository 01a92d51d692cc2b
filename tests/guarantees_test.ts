import { assert } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);

test("each guarantee in the README names tests that exist", () => {
  const readme = readFileSync(new URL("README.md", root), "utf8");
  const [, section = ""] = /^## What is guaranteed\n([^]*?)^## /m.exec(readme) ?? [];
  const rows = section.split("\n").filter((line) => /^\| [A-Z]/.test(line));
  assert(rows.length > 5);
  for (const row of rows) {
    const [, , cell = ""] = row.split("|");
    const named = [...cell.matchAll(/`(\w+_test\.ts)`: ([^`]+)/g)];
    assert(named.length > 0, row);
    for (const [, file = "", titles = ""] of named) {
      const text = readFileSync(new URL(`tests/${file}`, root), "utf8");
      for (
        const title of titles.split(";").map((each) => each.trim()).filter((each) => each !== "")
      ) {
        assert(text.includes(title), `${file} has no test "${title}"`);
      }
    }
  }
});
