/**
 * The inspector's page masks secrets by the rules of maskSecrets(), in a copy of its own: the page has no imports.
 */
import { assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { maskSecrets } from "../../src/core/trace.ts";

const FRAMES = [
  { method: "add", params: [1, 2], id: 1 },
  { method: "login", params: { username: "ann", password: "hunter2" }, id: 1 },
  { method: "login", params: ["ann", "hunter2"], id: 1 },
  { method: "rpc.login", params: { method: "login_with_token", params: { token: "WyJhIl0" } } },
  { method: "rpc.login", params: { method: "login", params: ["a", "b"] } },
  { method: "rpc.login", params: {} },
  { result: "eyJhbGciOiJIUzI1NiJ9.e30.x", id: 2 },
  { result: { deep: [{ apiKey: "k", name: "n" }] }, id: 3 },
].map((frame) => JSON.stringify(frame));

test("the inspector's page masks the same as maskSecrets()", () => {
  const file = new URL("../../src/inspector/page/secrets.js", import.meta.url);
  const masked = runInNewContext(
    `${readFileSync(file, "utf8")}; JSON.stringify(frames.map(maskSecrets))`,
    { frames: FRAMES },
  );
  assertEquals(JSON.parse(masked), FRAMES.map((frame) => maskSecrets(frame)));
});
