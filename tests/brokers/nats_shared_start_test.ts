import { assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import type { Retention } from "../../src/brokers/broker.ts";
import { SharedStart, startSize } from "../../src/brokers/nats/shared_start.ts";
import type { StartMessage } from "../../src/brokers/nats/shared_start.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** A stream that holds one message a subject. */
class Stream {
  epoch = "e1";
  kept: Retention = { size: 3, ageMs: DAY_MS };
  readonly messages = new Map<string, StartMessage>();
  asked = 0;

  start(): SharedStart {
    return new SharedStart({
      prefix: "s.keep",
      state: () => this,
      find: async (subject) => {
        this.asked++;
        await Promise.resolve();
        return this.messages.get(subject);
      },
      append: (subject) => {
        const seq = this.messages.size + 1;
        const message = { seq, at: 0, storedAt: 0, id: `${seq}`, data: undefined };
        this.messages.set(subject, { epoch: this.epoch, message });
        return Promise.resolve();
      },
    });
  }
}

test("SharedStart makes one message for many who ask at the same time, and keeps to it", async () => {
  const stream = new Stream();
  const start = stream.start();
  assertEquals(start.known, undefined);
  await Promise.all([start.renew(), start.renew(), start.renew()]);
  assertEquals([start.known?.message.seq, stream.messages.size, stream.asked], [1, 1, 2]);
  start.forget();
  assertEquals(start.known, undefined);
  await start.renew();
  assertEquals([start.known?.message.seq, stream.messages.size], [1, 1]);
  // Another process finds the same.
  const other = stream.start();
  await other.renew();
  assertEquals(other.known, start.known);
});

test("SharedStart takes another message for another stream, and for one that keeps more", async () => {
  const stream = new Stream();
  const start = stream.start();
  await start.renew();
  stream.kept = { size: 50, ageMs: DAY_MS };
  assertEquals(start.known, undefined);
  await start.renew();
  assertEquals(start.known?.message.seq, 2);
  stream.kept = { size: Infinity, ageMs: Infinity };
  await start.renew();
  stream.epoch = "e2";
  assertEquals(start.known, undefined);
  await start.renew();
  assertEquals([start.known?.message.seq, start.known?.epoch], [4, "e2"]);
  const subjects = [...stream.messages.keys()];
  assertMatch(subjects[0] ?? "", /^s\.keep\.%start\.e1\.3\.\d+$/);
  assertEquals(subjects.map(startSize), [3, 50, Infinity, Infinity]);
});

test("startSize() takes no topic for such a message", () => {
  const subjects = [
    "s.keep.news",
    "s.keep.%25start.e1.3.0",
    "s.keep.start.e1.3.0",
    "s.keep.%start",
  ];
  assertEquals(subjects.map(startSize), [undefined, undefined, undefined, undefined]);
});
