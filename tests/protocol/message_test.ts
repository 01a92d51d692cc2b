/**
 * JSON-RPC as text: reading and building, and the two measures of a text, its bytes and its depth.
 */
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { RpcError, RpcInvalidRequestError, RpcParseError } from "../../src/protocol/errors.ts";
import { exceedsBytes } from "../../src/util/utf8.ts";
import {
  checkParams,
  checkRequest,
  checkShape,
  errorText,
  idOf,
  isId,
  isResponse,
  parseMessage,
  RawJson,
  requestText,
  resultText,
} from "../../src/protocol/message.ts";
import { parseUntrusted } from "../../src/protocol/untrusted.ts";

// -- what comes in at random --

/** UTF-16 as it may come: letters, accents, pairs, and halves of pairs. */
const anyText = fc.array(fc.oneof(
  fc.integer({ min: 0, max: 0x7f }),
  fc.integer({ min: 0, max: 0xffff }),
  fc.integer({ min: 0xd800, max: 0xdfff }),
)).map((units) => String.fromCharCode(...units));

/** Text that a careless reader takes for structure. */
const trickyText = fc.string({ unit: fc.constantFrom("[", "]", "{", "}", '"', "\\", "a") });

/** JSON values whose strings and keys are full of brackets and quotes. */
const { trickyJson } = fc.letrec((tie) => ({
  trickyJson: fc.oneof(
    { depthSize: "medium" },
    fc.constantFrom<unknown>(null, true, 0, -1.5),
    trickyText,
    fc.array(tie("trickyJson"), { maxLength: 4 }),
    fc.dictionary(trickyText, tie("trickyJson"), { maxKeys: 4 }),
  ),
}));

const anyId = fc.oneof(
  anyText,
  fc.constant(null),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, min: -1e15, max: 1e15 }).filter((id) => !Object.is(id, -0)),
);

/** JSON values that look like messages, more or less. */
const almostMessage = fc.dictionary(
  fc.constantFrom("jsonrpc", "method", "params", "id", "result", "error"),
  fc.oneof(fc.constantFrom<unknown>("2.0", "ping", 1, null), fc.jsonValue()),
);

const anyJson = fc.oneof(fc.jsonValue(), almostMessage, fc.array(almostMessage));

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

// -- exceedsBytes --

test("exceedsBytes() agrees with TextEncoder when any text is just below, at or above the limit", () => {
  fc.assert(fc.property(anyText, fc.integer({ min: -2, max: 2 }), (text, offset) => {
    const { length } = new TextEncoder().encode(text);
    assertEquals(exceedsBytes(text, length + offset), length > length + offset);
  }));
});

test("exceedsBytes() agrees with TextEncoder when the limit is any number", () => {
  fc.assert(fc.property(anyText, fc.nat(64), (text, maxBytes) => {
    assertEquals(exceedsBytes(text, maxBytes), new TextEncoder().encode(text).length > maxBytes);
  }));
});

test("exceedsBytes() counts a lone surrogate as the U+FFFD that is sent for it", () => {
  for (const text of ["\ud800", "\udc00", "\udc00\ud800", "\ud800a", "a\ud800", "\ud800\ud800"]) {
    const { length } = new TextEncoder().encode(text);
    assert(!exceedsBytes(text, length));
    assert(exceedsBytes(text, length - 1));
  }
});

test("exceedsBytes() refuses nothing when the limit is Infinity", () => {
  assert(!exceedsBytes("é".repeat(100_000), Infinity));
});

// -- parseMessage --

test("parseMessage() gives and refuses what parseUntrusted() does", () => {
  fc.assert(fc.property(trickyJson, fc.integer({ min: 1, max: 30 }), (value, maxDepth) => {
    const text = JSON.stringify(value);
    assertEquals(
      outcome(() => parseMessage(text, maxDepth)),
      outcome(() => parseUntrusted(text, maxDepth)),
    );
  }));
});

test("parseMessage() throws a parse error when a text is too deep for the engine", () => {
  const text = "[".repeat(400_000) + "]".repeat(400_000);
  assertThrows(() => parseMessage(text, 300_000), RpcParseError);
});

// -- parseUntrusted --

test("parseUntrusted() refuses exactly what is nested deeper than allowed, brackets in strings aside", () => {
  fc.assert(fc.property(trickyJson, fc.integer({ min: 1, max: 8 }), (value, maxDepth) => {
    const text = JSON.stringify(value);
    if (depthOf(value) > maxDepth) {
      assertThrows(() => parseUntrusted(text, maxDepth), RpcParseError);
    } else assertEquals(parseUntrusted(text, maxDepth), value);
  }));
});

test("parseUntrusted() takes exactly as many levels as allowed, whether arrays or objects", () => {
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]] as const) {
    const nested = (levels: number) => open.repeat(levels - 1) + "[]" + close.repeat(levels - 1);
    assertEquals(depthOf(parseUntrusted(nested(128), 128)), 128);
    assertThrows(() => parseUntrusted(nested(129), 128), RpcParseError);
  }
});

/** How many values a value consists of, itself included. */
function countOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum: number, each) => sum + countOf(each), 1);
}

test("parseUntrusted() refuses exactly what has more values than allowed, walked or scanned", () => {
  fc.assert(fc.property(trickyJson, fc.constantFrom(100, 2000), (value, maxDepth) => {
    for (
      const text of [
        JSON.stringify(value),
        JSON.stringify(value, null, 2),
        `[ ${JSON.stringify(value)} ]`,
      ]
    ) {
      const count = countOf(JSON.parse(text));
      assertEquals(parseUntrusted(text, maxDepth, count), JSON.parse(text));
      if (count > 1) assertThrows(() => parseUntrusted(text, maxDepth, count - 1), RpcParseError);
    }
  }));
});

test("parseUntrusted() refuses 350,000 empty objects and says which limit that exceeds", () => {
  for (const item of ["{}", "0", "[ ]", '{"a":1}']) {
    const text = `[${`${item},`.repeat(349_999)}${item}]`;
    const error = assertThrows(() => parseUntrusted(text, 128, 20_000), RpcParseError);
    assertEquals(error.data, "Over 20000 values (maxValues)");
  }
});

test("parseUntrusted() refuses what is too deep when the text is long, be it sparse or dense", () => {
  for (const padding of ["", " ", " ".repeat(100)]) {
    for (const maxDepth of [128, 2000]) {
      const filler = `"${"[".repeat(20_000)}",`;
      const nested = (levels: number) =>
        `[${filler}${`[${padding}`.repeat(levels - 1)}${"]".repeat(levels)}`;
      assertEquals(depthOf(parseUntrusted(nested(maxDepth), maxDepth)), maxDepth);
      const error = assertThrows(
        () => parseUntrusted(nested(maxDepth + 1), maxDepth),
        RpcParseError,
      );
      assertEquals(error.data, `Over ${maxDepth} levels deep (maxDepth)`);
    }
  }
});

test("parseUntrusted() finds the end of a string when backslashes stand before quotes", () => {
  for (const text of [String.raw`["\\","[[[["]`, String.raw`["\"[[[[\\\"[[[[\\"]`, '["[[[["]']) {
    assertEquals(parseUntrusted(text, 1), JSON.parse(text));
  }
  assertThrows(() => parseUntrusted(String.raw`["\\",[[[[]]]]]`, 4), RpcParseError);
});

test("parseUntrusted() says which limit was passed when a text is too deep", () => {
  const error = assertThrows(() => parseUntrusted("[".repeat(100_000), 128), RpcParseError);
  assertEquals(error.data, "Over 128 levels deep (maxDepth)");
});

test("parseUntrusted() throws a bare parse error that keeps the cause when a text is no JSON", () => {
  for (const text of ["", " ", "{", "[1,]", "undefined", "'a'", "\ufeff{}", "\u00a0{}", "[[[[["]) {
    const error = assertThrows(() => parseUntrusted(text, 128), RpcParseError);
    assertEquals([error.code, error.message, error.data], [-32700, "Parse error", undefined]);
    assertInstanceOf(error.cause, SyntaxError);
  }
});

test("parseUntrusted() gives what JSON.parse gives, or its error, whatever the text", () => {
  fc.assert(fc.property(fc.oneof(anyText, trickyText, fc.json()), (text) => {
    assertEquals(outcome(() => parseUntrusted(text, 1_000)), outcome(() => JSON.parse(text)));
  }));
});

function outcome(parse: () => unknown): unknown {
  try {
    return { value: parse() };
  } catch {
    return "refused";
  }
}

// -- isResponse, checkRequest, ids --

test("isResponse() and checkRequest() give a verdict and never throw, whatever JSON they see", () => {
  fc.assert(fc.property(anyJson, (value) => {
    assertEquals(typeof isResponse(value), "boolean");
    const refusal = checkRequest(value);
    assert(refusal === undefined || refusal instanceof RpcInvalidRequestError);
    assert(isId(idOf(value)));
  }));
});

test("isResponse() and checkRequest() never both claim a message", () => {
  fc.assert(fc.property(anyJson, (value) => {
    assert(!(isResponse(value) && checkRequest(value) === undefined));
  }));
});

test("isResponse() knows an answer by its result or error, and by having no method", () => {
  for (const answer of [{ result: 1, id: 1 }, { result: null }, { error: {} }, { error: null }]) {
    assert(isResponse(answer), JSON.stringify(answer));
  }
  for (const other of [{ id: 1 }, {}, [], null, 1, "result", { method: "a", result: 1, id: 1 }]) {
    assert(!isResponse(other), JSON.stringify(other));
  }
});

test("checkRequest() passes requests and notifications with an id and params of every kind", () => {
  for (const rest of [{}, { id: 0 }, { id: "" }, { id: null }, { params: [] }, { params: null }]) {
    assertEquals(checkRequest({ jsonrpc: "2.0", method: "ping", ...rest }), undefined);
  }
  assertEquals(checkRequest({ jsonrpc: "2.0", method: "" }), undefined);
});

test("checkRequest() refuses what is no request with -32600", () => {
  const odd = [null, 1, "ping", [], {}, { jsonrpc: "2.0" }, { method: "ping" }];
  const oddMethods = [1, null, {}, ["ping"]].map((method) => ({ jsonrpc: "2.0", method }));
  const oddVersions = ["1.0", 2, "2", "2.00", null].map((jsonrpc) => ({ jsonrpc, method: "ping" }));
  const oddIds = [{}, [], true, 2 ** 53, -(2 ** 53), Infinity]
    .map((id) => ({ jsonrpc: "2.0", method: "ping", id }));
  for (const value of [...odd, ...oddMethods, ...oddVersions, ...oddIds]) {
    assertEquals(checkRequest(value)?.code, -32600, JSON.stringify(value));
  }
});

test("checkShape() refuses params that are neither array nor object, which checkRequest() leaves alone", () => {
  for (const params of ["clock", 1, true, ""]) {
    assertEquals(checkShape(params)?.code, -32600);
    assertEquals(checkRequest({ jsonrpc: "2.0", method: "ping", params, id: 1 }), undefined);
  }
  for (const params of [undefined, null, [], {}]) assertEquals(checkShape(params), undefined);
});

test("idOf() reads an id where there is one to answer with, else gives null", () => {
  assertEquals([{ id: 0 }, { id: "" }, { id: 1.5 }].map(idOf), [0, "", 1.5]);
  for (const value of [{}, { id: true }, { id: [] }, { id: 2 ** 53 }, null, [], "id", 1]) {
    assertEquals(idOf(value), null);
  }
});

// -- building --

test("requestText(), resultText() and errorText() give an id of every kind back as it came", () => {
  const error = new RpcError(1, "no");
  fc.assert(fc.property(anyId, (id) => {
    assert(isId(id));
    for (
      const text of [requestText(id, "ping", undefined), resultText(id, 1), errorText(id, error)]
    ) {
      assertEquals(JSON.parse(text).id, id);
    }
  }));
});

test("requestText() leaves params out when there are none, and the id of a notification", () => {
  assertEquals(requestText(1, "ping", undefined), '{"jsonrpc":"2.0","method":"ping","id":1}');
  assertEquals(requestText(undefined, "ping", undefined), '{"jsonrpc":"2.0","method":"ping"}');
});

test("resultText() is well formed and carries the result when it is any JSON value", () => {
  fc.assert(fc.property(fc.jsonValue(), (result) => {
    const text = resultText(7, result);
    assert(text.isWellFormed());
    const expected = JSON.parse(JSON.stringify({ jsonrpc: "2.0", result, id: 7 }));
    assertEquals(JSON.parse(text), expected);
  }));
});

test("resultText() is to the letter what JSON.stringify makes of the whole answer", () => {
  fc.assert(fc.property(anyId, fc.oneof(fc.double(), fc.jsonValue(), anyText), (id, result) => {
    assertEquals(resultText(id, result), JSON.stringify({ jsonrpc: "2.0", result, id }));
  }));
});

test("resultText() escapes lone surrogates, so that a text frame stays valid UTF-8", () => {
  fc.assert(fc.property(anyText, (result) => {
    const text = resultText(null, result);
    assert(text.isWellFormed());
    assertEquals(JSON.parse(text).result, result);
  }));
});

test("resultText() answers null when the result is undefined, NaN or Infinity", () => {
  for (const result of [undefined, null, NaN, Infinity]) {
    assertEquals(resultText(1, result), '{"jsonrpc":"2.0","result":null,"id":1}');
  }
});

test("resultText() puts raw JSON into the answer as it is", () => {
  assertEquals(
    resultText("a", new RawJson("[1, 2]")),
    '{"jsonrpc":"2.0","result":[1, 2],"id":"a"}',
  );
});

test("resultText() throws a TypeError when the result has no JSON", () => {
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const results = [
    () => 1,
    class {},
    Symbol("result"),
    1n,
    { deep: [1n] },
    cycle,
    { toJSON: () => undefined },
    { toJSON: () => () => 1 },
  ];
  for (const result of results) assertThrows(() => resultText(1, result), TypeError);
});

test("resultText() passes on what a toJSON throws", () => {
  const failing = {
    toJSON() {
      throw new RangeError("no JSON today");
    },
  };
  assertThrows(() => resultText(1, failing), RangeError, "no JSON today");
});

test("errorText() holds code and message, and data only where there is some", () => {
  assertEquals(
    errorText(1, new RpcError(5, "no")),
    '{"jsonrpc":"2.0","error":{"code":5,"message":"no"},"id":1}',
  );
  for (const data of [0, "", null, false, [], {}]) {
    assertEquals(JSON.parse(errorText(null, new RpcError(5, "no", { data }))).error.data, data);
  }
});

test("errorText() throws when the data has no JSON", () => {
  assertThrows(() => errorText(1, new RpcError(5, "no", { data: 1n })), TypeError);
});

test("checkParams() passes arrays and objects, takes null as none and refuses the rest", () => {
  for (const params of [[], [1], {}, { a: 1 }]) assertEquals(checkParams(params), params);
  for (const params of [undefined, null]) assertEquals(checkParams(params), undefined);
  for (const params of ["a", 1, true, 1n, () => 1]) {
    assertThrows(
      () => checkParams(params),
      TypeError,
      "Expected params to be an array or an object",
    );
  }
});
