/**
 * The bounds: their defaults, and what a program may put in their place.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { DEFAULT_LIMITS } from "../../src/protocol/limits.ts";
import type { Limits } from "@x/jsonrpc";
import { resolveLimits } from "../../src/protocol/limits.ts";
import { silentLog } from "../helpers/log.ts";
import { bareClient } from "../helpers/wire.ts";
import { call, notice } from "../helpers/messages.ts";

const names = Object.keys(DEFAULT_LIMITS) as (keyof Limits)[];

function leastOf(name: keyof Limits): number {
  return name.endsWith("Ms") ? 0 : 1;
}

test("DEFAULT_LIMITS are the documented ones, and cannot be written to", () => {
  assertEquals(DEFAULT_LIMITS, {
    maxMessageBytes: 1_048_576,
    maxDepth: 128,
    maxValues: 20_000,
    maxBatch: 1000,
    maxInFlight: 1_000,
    maxConnections: 10_000,
    maxPerAddress: Infinity,
    maxTotalBytes: 268_435_456,
    bodyTimeoutMs: 60_000,
    maxSubscriptions: 1_024,
    maxBufferedBytes: 4_194_304,
    heartbeatMs: 30_000,
    timeoutMs: 60_000,
  });
  assert(Object.isFrozen(DEFAULT_LIMITS));
});

test("resolveLimits() gives the defaults when nothing else is said", () => {
  assertEquals(resolveLimits({}), DEFAULT_LIMITS);
  const undefinedOnes = Object.fromEntries(names.map((name) => [name, undefined]));
  assertEquals(resolveLimits(undefinedOnes as Partial<Limits>), DEFAULT_LIMITS);
});

test("resolveLimits() takes any whole number from the least on, and Infinity", () => {
  const anyBound = fc.oneof(fc.maxSafeNat(), fc.constant(Infinity));
  fc.assert(fc.property(fc.constantFrom(...names), anyBound, (name, bound) => {
    fc.pre(bound >= leastOf(name));
    assertEquals(resolveLimits({ [name]: bound }), { ...DEFAULT_LIMITS, [name]: bound });
  }));
  for (const name of names) {
    assertEquals(resolveLimits({ [name]: leastOf(name) })[name], leastOf(name));
  }
});

test("resolveLimits() throws a RangeError that names the bound when its value makes no sense", () => {
  const odd = [-1, 0.5, NaN, -Infinity, 2 ** 53, "100", true, {}, [], 10n, () => 1];
  for (const name of names) {
    for (const value of [...odd, leastOf(name) - 1]) {
      const options = { [name]: value } as unknown as Partial<Limits>;
      const start = `Expected \`${name}\` to be a whole number from ${
        leastOf(name)
      }, or Infinity, got`;
      assertThrows(() => resolveLimits(options), RangeError, start);
    }
  }
});

test("resolveLimits() says what it got", () => {
  const options = { maxBatch: "many" } as unknown as Partial<Limits>;
  assertThrows(() => resolveLimits(options), RangeError, "got `many` (string)");
});

test("resolveLimits() takes frozen options, never writes to them, and gives frozen limits", () => {
  const options = Object.freeze({ maxBatch: 7 });
  const limits = resolveLimits(options);
  assertEquals(limits.maxBatch, 7);
  assertEquals(options, { maxBatch: 7 });
  assert(Object.isFrozen(limits));
});

test("resolveLimits() leaves out what is no bound", () => {
  const options = { logger: console, maxBatches: 1 } as Partial<Limits>;
  assertEquals(resolveLimits(options), DEFAULT_LIMITS);
});

test("maxBatch answers a batch of notifications alone, too: the error is about the batch", async () => {
  const rpc = new JsonRpc({ logger: silentLog(), maxBatch: 3 });
  const wire = bareClient(rpc);
  wire.send(Array(3).fill(notice("note")));
  wire.send(Array(4).fill(notice("note")));
  const { id, error } = await wire.next();
  assertEquals([id, error?.code, error?.message], [
    null,
    -32010,
    "Batch of 4 is over 3 (maxBatch)",
  ]);
});

test("maxInFlight drops a notification beyond it with a line in the log", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger, maxInFlight: 1 }).method("later", async () => await null);
  const wire = bareClient(rpc);
  wire.send([call("later", 1), notice("later")]);
  await wire.next();
  assertEquals(logger.lines, [
    'debug: Notification "later" dropped: Server busy: 1 calls are in flight (maxInFlight)',
  ]);
});
