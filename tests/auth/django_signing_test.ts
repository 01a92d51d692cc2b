import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { isSessionHashValid } from "../../src/auth/django/session_hash.ts";
import { toMilliseconds } from "../../src/auth/django/sessions.ts";
import { readSigned } from "../../src/auth/django/signing.ts";
import { signLikeDjango } from "../helpers/django.ts";

// Made by Django 5.2: `signing.dumps(value, salt="some salt")` with this key, in November 2023.
const KEYS = ["predictable-secret"];
const SIGNED =
  "eyJ1c2VyIjoiMSIsIlx1MDBlOSI6WzEsMixudWxsXX0:1r31eq:l0_uNpriZn3LGzU32gKTb00j34Im0GhTXGVmLfhYzvg";
const COMPRESSED =
  ".eJyrVipJrShRslKqGAVEA6VaAECykCA:1r31eq:0IpbuW-8Ney1n-953fC4s7i_8FFKvhRQkNIs0fERsps";
const options = { keys: KEYS, salt: "some salt" };

test("readSigned() reads what Django's signing.dumps() has made", () => {
  assertEquals(readSigned(SIGNED, options), { user: "1", "é": [1, 2, null] });
  assertEquals(readSigned(COMPRESSED, options), { text: "x".repeat(300) });
});

test("readSigned() accepts a fallback key, and refuses other keys and salts", () => {
  assertEquals(readSigned(SIGNED, { ...options, keys: ["new", ...KEYS] }), {
    user: "1",
    "é": [1, 2, null],
  });
  assertEquals(readSigned(SIGNED, { ...options, keys: ["new"] }), undefined);
  assertEquals(readSigned(SIGNED, { ...options, keys: [] }), undefined);
  assertEquals(readSigned(SIGNED, { ...options, salt: "another salt" }), undefined);
  const bytes = new TextEncoder().encode(KEYS[0]);
  assertEquals(readSigned(COMPRESSED, { ...options, keys: [bytes] }), { text: "x".repeat(300) });
});

test("readSigned() refuses a text of which any character was changed", () => {
  for (const text of [SIGNED, COMPRESSED]) {
    for (let index = 0; index < text.length; index++) {
      const other = text[index] === "A" ? "B" : "A";
      const changed = text.slice(0, index) + other + text.slice(index + 1);
      assertEquals(readSigned(changed, options), undefined, changed);
    }
  }
});

test("readSigned() refuses what is not a signed text", () => {
  for (const text of ["", ":", "::", "a:b", "a:b:c", SIGNED.slice(0, -1), `${SIGNED}A`]) {
    assertEquals(readSigned(text, options), undefined);
  }
  assertEquals(readSigned("x".repeat(2 ** 20 + 1), options), undefined);
  fc.assert(fc.property(fc.string(), (text) => {
    assertEquals(readSigned(text, options), undefined);
  }));
});

test("readSigned() refuses a text that is too old", () => {
  assertEquals(readSigned(SIGNED, { ...options, maxAgeMs: 60_000 }), undefined);
  const fresh = signLikeDjango({ user: "1" }, options.salt, KEYS[0]);
  assertEquals(readSigned(fresh, { ...options, maxAgeMs: 60_000 }), { user: "1" });
});

test("isSessionHashValid() accepts the hashes that Django makes with SHA-256 and SHA-1", () => {
  const password = "pbkdf2_sha256$260000$salt$hPvVEutECp0JjRhYqwibgqTefTo/DzKXnCroL0aoSXM=";
  const sha256 = "2fd8952b54bf6f1d0397e12f6d6640ddad7e51ee21d62256ef1532795242fce1";
  const sha1 = "66f7b1a5f97a0c4f7ce1468490aa8ca3e1512078";
  for (const hash of [sha256, sha1]) {
    assertEquals(isSessionHashValid(hash, password, KEYS), true);
    assertEquals(isSessionHashValid(hash, password, ["new", ...KEYS]), true);
    assertEquals(isSessionHashValid(hash, password, ["new"]), false);
    assertEquals(isSessionHashValid(hash, `${password} `, KEYS), false);
    assertEquals(isSessionHashValid(hash.slice(0, -1), password, KEYS), false);
  }
  for (const hash of ["", "0", sha256.toUpperCase(), `${sha256}0`]) {
    assertEquals(isSessionHashValid(hash, password, KEYS), false);
  }
});

test("toMilliseconds() reads dates as databases and their drivers give them", () => {
  const time = Date.UTC(2026, 6, 1, 12, 30, 0, 123);
  for (
    const [value, timeZone, expected] of [
      [new Date(time), "UTC", time],
      ["2026-07-01 12:30:00.123456", "UTC", time],
      ["2026-07-01T12:30:00.123Z", "Europe/Berlin", time],
      ["2026-07-01 14:30:00.123+02", "UTC", time],
      ["2026-07-01 14:30:00.123+02:00", "UTC", time],
      ["2026-07-01 14:30:00.123456", "Europe/Berlin", time],
      ["2026-01-01 00:00:00", "America/New_York", Date.UTC(2026, 0, 1, 5)],
    ] as const
  ) assertEquals(toMilliseconds(value, timeZone), expected, String(value));
  assertEquals(toMilliseconds("soon", "UTC"), NaN);
  assertEquals(toMilliseconds(null, "Europe/Berlin"), NaN);
});
