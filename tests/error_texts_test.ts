/**
 * Each text of an error that a user can meet has an entry in docs/troubleshooting.md. The other way round,
 * `docs_test.ts` checks that each entry is a text of the source.
 */
import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);

// Parts of longer texts, and what nothing but this module itself sees. Each with the reason.
const NOT_ALONE: Readonly<Record<string, string>> = {
  "the connection was closed": "stands after `Cannot publish to …:`",
  "the connection was lost": "stands after `NATS is out of reach`",
  "the stream's leader is behind": "makes the broker ask again",
  "the broker is closed": "stands after `Cannot …:`",
  "connected, but it did not answer within … ms": "stands after `NATS is out of reach`",
  "the server closed the connection": "stands after `NATS is out of reach`",
  "too late": "of an attempt that counts no more",
  "no answer within … ms": "stands after `… is out of reach`",
  "it is no OpenRPC document": "stands after `Cannot read …:`",
  "The … …": "stands after `Cannot read …`: what is wrong with a line",
  "The token is in use": "a client makes each token once",
  "The stream was closed": "the reason of an end that the program asked for",
  "Nothing was stored with its socket": "stands after `Cannot restore the connection`",
  "What was stored of it is gone": "stands after `Cannot restore the connection`",
  "subscribe: …": "stands after `Cannot restore the connection`",
  "Cannot … …: ……": "has entries as `Cannot publish to …`",
  "A value for the schema has over … parts": "of mockServer's samples, and says what is too large",
  "Over … characters": "of mockServer's samples, and says what is too large",
  "retry: …nn": "what an event stream ends with",
  "No WebSockets here": "the answer to an upgrade, of a server that only shows a trace",
  "Expected `…`": "the name of a param of passwd's methods: -32602",
  "Cannot encode the data of the error":
    "stands before its cause, in the log after `Method … failed`",
};

const LITERAL = /"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`/.source;
const MADE = new RegExp(
  String.raw`new (?:Rpc\w*Error|TypeError|RangeError|Error|Response)\(\s*` +
    String
      .raw`(?:[\w.]+,\s*)?(?:\{\s*(?:message|data):\s*)?((?:${LITERAL})(?:\s*\+\s*(?:${LITERAL}))*)`,
  "g",
);

/** The texts of the errors that a file makes, with `…` for what differs. */
function textsOf(source: string): string[] {
  const code = source.replace(/^\s*(?:\*|\/\/|\/\*).*$/gm, "");
  return [...code.matchAll(MADE)].map(([, literal = ""]) =>
    literal.replace(/["`]\s*\+\s*["`]/g, "").slice(1, -1)
      .replace(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, "…").replace(/\\(.)/g, "$1")
  );
}

/** The texts that the guide explains, each as an expression for the beginning of an error. */
function entries(): RegExp[] {
  const rows = readFileSync(new URL("docs/troubleshooting.md", root), "utf8").match(/^\| .*`.*$/gm);
  return (rows ?? []).flatMap((row) => {
    const [, cell = ""] = row.split(/(?<!\\)\|/);
    return [...cell.matchAll(/`((?:\\`|[^`])+)`/g)].map(([, text = ""]) => {
      const parts = text.replaceAll("\\`", "`").split("…");
      return new RegExp(
        `^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}`,
      );
    });
  });
}

test("each text of an error has an entry in docs/troubleshooting.md", () => {
  const files = readdirSync(new URL("src", root), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"));
  const known = entries();
  const found = files.flatMap((name) =>
    textsOf(readFileSync(new URL(`src/${name}`, root), "utf8")).map((text) => ({ name, text }))
  );
  assert(found.length > 100);
  // A single lower-case word is the outcome of a call, not a text.
  const missing = found.filter(({ text }) =>
    !/^[a-z]*$/.test(text) && !(text in NOT_ALONE) && !known.some((entry) => entry.test(text))
  );
  assertEquals(missing.map(({ name, text }) => `${name}: ${text}`), []);
  assertEquals(
    Object.keys(NOT_ALONE).filter((each) => !found.some(({ text }) => text === each)),
    [],
  );
});
