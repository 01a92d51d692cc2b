/**
 * Pages of history out of a log whose messages lie anyhow.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { readHistory } from "../../src/brokers/nats/history.ts";
import type { SubjectLog } from "../../src/brokers/nats/history.ts";
import type { KeptMessage } from "../../src/brokers/nats/message.ts";

const KEEP = { size: 100_000, ageMs: Infinity };

function messageAt(seq: number): KeptMessage {
  return { seq, at: 0, storedAt: 0, id: `id-${seq}`, data: `${seq}` };
}

/** A log with messages at these sequences. */
function logOf(seqs: readonly number[]): SubjectLog {
  const found = (seq: number | undefined) => seq === undefined ? undefined : messageAt(seq);
  return {
    at: (seq) => Promise.resolve(found(seqs.find((each) => each === seq))),
    next: (seq) => Promise.resolve(found(seqs.find((each) => each >= seq))),
    count: () => Promise.resolve(seqs.length),
  };
}

/** Where messages lie: stretches of the same distance, some crowded, some far apart. */
const sequences = fc.array(
  fc.record({ count: fc.integer({ min: 1, max: 150 }), distance: fc.integer({ min: 1, max: 40 }) }),
  { minLength: 1, maxLength: 8 },
).map((stretches) => {
  let seq = 0;
  return stretches.flatMap(({ count, distance }) =>
    Array.from({ length: count }, () => seq += distance)
  );
});

test("readHistory() reads exactly what follows a position, and ends at an event", async () => {
  const page = fc.constantFrom(1, 10, 16, 17, 40, 128);
  await fc.assert(
    fc.asyncProperty(sequences, fc.nat(), page, async (seqs, at, first) => {
      const end = { epoch: "e", last: messageAt(seqs.at(-1) as number), isEmpty: false };
      const n = at % seqs.length;
      const seq = seqs[n] as number;
      const since = { epoch: "e", offset: seq, id: `id-${seq}` };
      const read = await readHistory(logOf(seqs), end, KEEP, { since, first });
      const wanted = seqs.slice(n + 1, n + 1 + first);
      assertEquals(read.events.map(({ position }) => position.offset), wanted);
      assertEquals([read.complete, read.reached.offset], [true, wanted.at(-1) ?? seq]);
    }),
    { numRuns: 300 },
  );
});

test("readHistory() reads exactly the newest events, with a position or without", async () => {
  await fc.assert(
    fc.asyncProperty(
      sequences,
      fc.nat(),
      fc.integer({ min: 2, max: 60 }),
      async (seqs, at, limit) => {
        const end = { epoch: "e", last: messageAt(seqs.at(-1) as number), isEmpty: false };
        const newest = await readHistory(logOf(seqs), end, KEEP, { limit });
        assertEquals(newest.events.map(({ position }) => position.offset), seqs.slice(-limit));
        const n = at % seqs.length;
        const seq = seqs[n] as number;
        const since = { epoch: "e", offset: seq, id: `id-${seq}` };
        const read = await readHistory(logOf(seqs), end, KEEP, { since, limit });
        const rest = seqs.slice(n + 1);
        assertEquals(read.events.map(({ position }) => position.offset), rest.slice(-limit));
        assertEquals(read.complete, rest.length <= limit);
        assert(read.reached.offset === end.last.seq);
      },
    ),
    { numRuns: 300 },
  );
});

test("readHistory() tells of what a topic without events has had too many of, from before and after", async () => {
  const log = logOf([6, 7, 8, 9]);
  const start = { ...messageAt(5), data: undefined, keepsSince: 3 };
  const withStart = {
    ...log,
    at: (seq: number) => seq === 5 ? Promise.resolve(start) : log.at(seq),
  };
  const end = { epoch: "e", last: messageAt(9), isEmpty: false };
  for (const since of [{ offset: 5, id: "id-5" }, { offset: 4, nextId: "id-5" }]) {
    const read = await readHistory(withStart, end, KEEP, { since: { epoch: "e", ...since } });
    assertEquals(read.complete, false);
  }
});
