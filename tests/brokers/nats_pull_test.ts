import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { pullAll } from "../../src/brokers/nats/pull.ts";
import type { PulledMessage, PullSource } from "../../src/brokers/nats/pull.ts";

/** A consumer of which each pull brings what is written down, or `"lost"` in place of what gets lost. */
class Script implements PullSource {
  readonly asked: number[] = [];
  readonly #pulls: readonly (readonly (number | "lost")[])[];
  #delivered = 0;

  constructor(...pulls: readonly (readonly (number | "lost")[])[]) {
    this.#pulls = pulls;
  }

  fetch({ max_messages }: { max_messages: number }): Promise<AsyncIterable<PulledMessage>> {
    const pull = this.#pulls[this.asked.length] ?? [];
    this.asked.push(max_messages);
    return Promise.resolve(this.#deliver(pull));
  }

  async *#deliver(pull: readonly (number | "lost")[]): AsyncIterableIterator<PulledMessage> {
    for (const seq of await Promise.resolve(pull)) {
      const deliverySequence = ++this.#delivered;
      const timestamp = "2026-01-01T00:00:00Z";
      if (seq === "lost") continue;
      yield { seq, info: { deliverySequence }, timestamp, string: () => `${seq}` };
    }
  }
}

async function pull(source: Script, most = Infinity): Promise<number[]> {
  const messages = await pullAll(source, { from: 2, to: 9, most });
  return messages.map(({ seq }) => seq);
}

test("pullAll() goes on where a pull brings only a part", async () => {
  const source = new Script([2, 3], [5], [7, 9]);
  assertEquals(await pull(source), [2, 3, 5, 7, 9]);
  assertEquals(source.asked, [8, 6, 4]);
});

test("pullAll() rejects if only a part comes", async () => {
  for (const source of [new Script(), new Script([2, 3]), new Script([2], [3, 5, 7], [])]) {
    await assertRejects(() => pull(source), Error, "history did not come");
  }
});

test("pullAll() rejects if a message is lost between others", async () => {
  for (const source of [new Script([2, "lost", 5, 9]), new Script([2, "lost"], [7, 9])]) {
    await assertRejects(() => pull(source), Error, "lost on the way");
  }
});

test("pullAll() rejects if a replica that is behind begins before the range", async () => {
  for (const source of [new Script([1, 2, 3, 9]), new Script([1]), new Script([2, 3], [3, 9])]) {
    await assertRejects(() => pull(source), Error, "a replica is behind");
  }
});

test("pullAll() ends with the last that is of interest, or as many as were asked for", async () => {
  assertEquals(await pull(new Script([3, 5, 10, 11])), [3, 5]);
  assertEquals(await pull(new Script([2, 3, 4, 5]), 3), [2, 3, 4]);
  const source = new Script([2], [3, 4, 5]);
  assertEquals(await pull(source, 3), [2, 3, 4]);
  assertEquals(source.asked, [3, 2]);
});
