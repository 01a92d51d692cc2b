/**
 * Random texts as a hostile client may send them, and the answers that each must get: written from the
 * specification, without a look at the code.
 */
import fc from "fast-check";

/** Names that plain objects inherit. */
const PROTOTYPE_NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"];

const method = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom("ping", "echo", "later", "fail", "failLater") },
  fc.constantFrom("get_methods", "get_topics", "get_subscriptions", "subscribe", "unsubscribe"),
  fc.constantFrom("rpc.discover", "rpc.x", "$/cancelRequest", "$/progress", "$/x", ""),
  fc.constantFrom(...PROTOTYPE_NAMES),
  fc.string({ unit: "binary" }),
);

const id = fc.oneof(
  fc.constantFrom<unknown>(null, 0, -0, "", "0", 1, 1.5, 2 ** 53, -(2 ** 53), 1e300, true, [], {}),
  fc.nat({ max: 5 }),
  fc.string({ unit: "binary" }),
  fc.jsonValue(),
);

/** JSON with difficult keys and strings, among them lone surrogates. */
const json = fc.oneof(
  fc.jsonValue({ stringUnit: "binary" }),
  fc.dictionary(fc.constantFrom(...PROTOTYPE_NAMES), fc.jsonValue()),
  fc.constantFrom<unknown>("\ud800", ["\udc00\ud800"], { "\udfff": 1 }, 2 ** 64),
);

/** A request or notification, mostly a valid one. */
const request = fc.record({
  jsonrpc: fc.oneof({ weight: 9, arbitrary: fc.constant<unknown>("2.0") }, json),
  method: fc.oneof({ weight: 9, arbitrary: method as fc.Arbitrary<unknown> }, json),
  params: fc.oneof(fc.array(json), fc.dictionary(fc.string(), json), json),
  id,
}, { requiredKeys: ["jsonrpc", "method"] });

/** An answer to no call. */
const response = fc.record({
  jsonrpc: fc.constant("2.0"),
  id,
  result: json,
  error: fc.oneof(json, fc.record({ code: fc.integer(), message: fc.string(), data: json })),
}, { requiredKeys: ["jsonrpc"] });

const entry = fc.oneof({ weight: 4, arbitrary: request as fc.Arbitrary<unknown> }, response, json);

/** An entry so short that the answer to 1,000 of them is within the limit. */
const short = fc.constantFrom<unknown>(
  1,
  { jsonrpc: "2.0", method: "later", id: 1 },
  { jsonrpc: "2.0", method: "ping" },
  { jsonrpc: "2.0", result: 1, id: 1 },
);

/** Batches, some of them empty, with equal ids, or over the limit. */
const batch = fc.oneof(
  { weight: 8, arbitrary: fc.array(entry, { maxLength: 12 }) },
  fc.tuple(entry, fc.integer({ min: 2, max: 20 })).map(([each, count]) => Array(count).fill(each)),
  fc.tuple(short, fc.integer({ min: 999, max: 1002 }))
    .map(([each, count]) => Array(count).fill(each)),
);

const message = fc.oneof({ weight: 3, arbitrary: entry }, batch).map((each) =>
  JSON.stringify(each)
);

/** A valid text in which characters are removed, inserted or replaced. */
const mutated = fc.tuple(message, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 2 }), anyPiece())))
  .map(([text, changes]) =>
    changes.slice(0, 4).reduce((text, [place, taken, put]) => {
      const at = place % (text.length + 1);
      return text.slice(0, at) + put + text.slice(at + taken);
    }, text)
  );

function anyPiece(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom(
      "",
      "[",
      "]",
      "{",
      "}",
      '"',
      "\\",
      ",",
      ":",
      "null",
      "1e999",
      "\u0000",
      "\ufeff",
    ),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
}

/** Nesting, closed or not, up to a depth that would overflow a stack. */
const deep = fc.tuple(
  fc.constantFrom(["[", "]"], ['{"a":', "1}"], ['[{"a":', "1}]"]),
  fc.constantFrom(1, 2, 126, 127, 128, 129, 5000, 50_000),
  fc.boolean(),
).map(([[open = "", close = ""], levels, closed]) =>
  open.repeat(levels) +
  (closed ? (open.endsWith(":") ? "1" : "") + close.replace("1", "").repeat(levels) : "")
);

/** Any text that a frame can hold, that is, without lone surrogates. */
export const anyFrame: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: message },
  { weight: 4, arbitrary: mutated },
  { weight: 1, arbitrary: deep },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
).map((text) =>
  text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "?")
);

const MAX_DEPTH = 128;
const MAX_BATCH = 1000;

/** Gives the ids of all answers that a text must get, as JSON; one null if the text as a whole is invalid. */
export function idsToAnswer(text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return ["null"];
  }
  if (isDeeper(value, MAX_DEPTH)) return ["null"];
  if (!Array.isArray(value)) return idOfAnswer(value);
  if (value.length === 0) return ["null"];
  if (value.length > MAX_BATCH && !value.every(isAnswer)) return ["null"];
  return value.flatMap(idOfAnswer);
}

interface AnyObject {
  readonly [name: string]: unknown;
}

function idOfAnswer(value: unknown): string[] {
  if (isAnswer(value)) return [];
  if (typeof value !== "object" || value === null) return ["null"];
  const { jsonrpc, method, id } = value as AnyObject;
  const isRequest = jsonrpc === "2.0" && typeof method === "string";
  if (isRequest && id === undefined) return [];
  return [JSON.stringify(mayBeId(id) ? id : null)];
}

function mayBeId(id: unknown): boolean {
  return typeof id === "string" ||
    (typeof id === "number" && Math.abs(id) <= Number.MAX_SAFE_INTEGER);
}

function isAnswer(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { method, result, error } = value as AnyObject;
  return method === undefined && (result !== undefined || error !== undefined);
}

/** Whether a value is nested deeper than `levels`; does not recurse. */
function isDeeper(value: unknown, levels: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    level = level.filter((each) => typeof each === "object" && each !== null);
    if (level.length > 0 && depth === levels) return true;
    level = level.flatMap((each) => Object.values(each as object));
  }
  return false;
}
