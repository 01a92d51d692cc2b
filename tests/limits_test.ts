/**
 * The bounds: their defaults, and what a program may put in their place.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { DEFAULT_LIMITS, JsonRpc } from "@x/jsonrpc";
import type { Limits } from "@x/jsonrpc";
import { resolveLimits } from "../src/limits.ts";
import { linkedSockets } from "@x/jsonrpc/testing";
import { bareClient, silentLog } from "./_kit/local.ts";
import { call, notice, result } from "./_kit/messages.ts";
import type { Message } from "./_kit/messages.ts";

const names = Object.keys(DEFAULT_LIMITS) as (keyof Limits)[];

function leastOf(name: keyof Limits): number {
  return name.endsWith("Ms") ? 0 : 1;
}

test("DEFAULT_LIMITS are the documented ones, and cannot be written to", () => {
  assertEquals(DEFAULT_LIMITS, {
    maxMessageBytes: 1_048_576,
    maxDepth: 128,
    maxBatch: 100,
    maxInFlight: 1_000,
    maxConnections: 10_000,
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

// -- what a peer is told --

const doors: Readonly<
  Record<string, (rpc: JsonRpc, text: string) => Promise<Message | Message[]>>
> = {
  async "a WebSocket"(rpc, text) {
    const wire = bareClient(rpc);
    wire.say(text);
    return await wire.next() as Message;
  },
  async "a POST"(rpc, text) {
    const headers = { "content-type": "application/json" };
    const request = new Request("http://rpc.example/", { method: "POST", headers, body: text });
    return await (await rpc.fetch(request)).json();
  },
};

function testServer(limits: Partial<Limits>): JsonRpc {
  const rpc = new JsonRpc({ logger: silentLog(), ...limits })
    .method("echo", (params: unknown) => params)
    .method("later", async (params: unknown) => await Promise.resolve(params))
    .method("large", ([length]: [number]) => "x".repeat(length));
  return rpc as unknown as JsonRpc;
}

/** An array in an array in an array. */
function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

/** Some of the same message. */
function batch(message: Message, length: number): string {
  return JSON.stringify(Array(length).fill(message));
}

/** What an answer has beside the text that it brings. */
const EMPTY_BYTES = JSON.stringify(result(1, "")).length;

interface Refusal {
  readonly limits: Partial<Limits>;
  /** At the limit, and one beyond. */
  readonly texts: readonly [at: string, beyond: string];
  readonly code: number;
  /** What the error says: in its message, or in its data. */
  readonly says: string;
}

const refusals: Readonly<Record<string, Refusal>> = {
  "-32700 for a message over maxDepth": {
    limits: { maxDepth: 10 },
    texts: [10, 11].map((depth) =>
      `{"jsonrpc":"2.0","method":"echo","params":${nested(depth - 1)},"id":1}`
    ) as [string, string],
    code: -32700,
    says: "Nested deeper than 10 levels (maxDepth)",
  },
  "-32010 for a batch over maxBatch": {
    limits: { maxBatch: 3 },
    texts: [batch(call("echo", 1), 3), batch(call("echo", 1), 4)],
    code: -32010,
    says: "Batch of 4 is over 3 (maxBatch)",
  },
  "-32010 for a batch over maxBatch, even one of notifications": {
    limits: { maxBatch: 3 },
    texts: [batch(call("echo", 1), 3), batch(notice("echo"), 4)],
    code: -32010,
    says: "Batch of 4 is over 3 (maxBatch)",
  },
  "-32009 for a call over maxInFlight": {
    limits: { maxInFlight: 2 },
    texts: [batch(call("later", 1), 2), batch(call("later", 1), 3)],
    code: -32009,
    says: "Server busy: 2 calls of this connection are in flight (maxInFlight)",
  },
  "-32008 for an answer over maxMessageBytes": {
    limits: { maxMessageBytes: 300 },
    texts: [
      JSON.stringify(call("large", 1, [300 - EMPTY_BYTES])),
      JSON.stringify(call("large", 1, [301 - EMPTY_BYTES])),
    ],
    code: -32008,
    says: "Response is over 300 bytes (maxMessageBytes)",
  },
  "-32011 for a batch's answer over maxMessageBytes": {
    limits: { maxMessageBytes: "[,]".length + 2 * (EMPTY_BYTES + 50) },
    texts: [batch(call("large", 1, [50]), 2), batch(call("large", 1, [51]), 2)],
    code: -32011,
    says: `The batch's answer is over ${103 + 2 * EMPTY_BYTES} bytes (maxMessageBytes)`,
  },
};

for (const [door, ask] of Object.entries(doors)) {
  for (const [what, { limits, texts, code, says }] of Object.entries(refusals)) {
    test(`JsonRpc answers ${what}, over ${door}, and says so`, async () => {
      const [at, beyond] = texts;
      const taken = [await ask(testServer(limits), at)].flat();
      assert(taken.every(({ error }) => error === undefined), JSON.stringify(taken));
      const errors = [await ask(testServer(limits), beyond)].flat().flatMap(({ error }) =>
        error ?? []
      );
      assertEquals(errors.map((error) => error.code), [code]);
      assert(`${errors[0]?.message} ${errors[0]?.data}`.includes(says), JSON.stringify(errors));
    });
  }
}

test("JsonRpc refuses a message over maxMessageBytes, and says so", async () => {
  const text = JSON.stringify(call("echo", 1)).padEnd(200, " ");
  for (const ask of Object.values(doors)) {
    const answer = await ask(testServer({ maxMessageBytes: 200 }), text) as Message;
    assertEquals(answer.error, undefined);
  }
  const posted = await doors["a POST"]?.(
    testServer({ maxMessageBytes: 200 }),
    `${text} `,
  ) as Message;
  assertEquals(posted.error, {
    code: -32007,
    message: "Request is over 200 bytes (maxMessageBytes)",
  });
  const [near, far] = linkedSockets();
  const closed = new Promise<unknown[]>((resolve) => {
    near.addEventListener("close", ({ code, reason }) => resolve([code, reason]));
  });
  testServer({ maxMessageBytes: 200 }).attach(far);
  near.send(`${text} `);
  assertEquals(await closed, [1009, "Message over 200 bytes (maxMessageBytes)"]);
});

test("JsonRpc drops a notification over maxInFlight with a line in the log", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger, maxInFlight: 1 }).method("later", async () => await null);
  const wire = bareClient(rpc);
  wire.say([call("later", 1), notice("later")]);
  await wire.next();
  assertEquals(logger.lines, [
    'debug: Notification "later" dropped: Server busy: 1 calls of this connection are in flight (maxInFlight)',
  ]);
});
