import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { Semaphore } from "../../src/util/semaphore.ts";
import { deferred, quietMoment } from "../helpers/deferred.ts";

test("a semaphore runs a few at once, in order, and refuses what exceeds its queue", async () => {
  const semaphore = new Semaphore({ concurrency: 2, maxWaiting: 3 });
  const locks = Array.from({ length: 6 }, () => deferred());
  const started: number[] = [];
  const runs = locks.map((lock, index) =>
    semaphore.run(async () => {
      started.push(index);
      await lock.promise;
      if (index === 0) throw new RangeError("its own failure");
      return index;
    })
  );
  const results = Promise.allSettled(runs);
  await quietMoment();
  assertEquals(started, [0, 1]);
  await assertRejects(
    () => runs[5] as Promise<number>,
    RangeError,
    "Cannot run: 3 others wait already",
  );
  for (const [index, lock] of locks.entries()) {
    lock.resolve();
    await quietMoment();
    assertEquals(started.length, Math.min(5, index + 3));
  }
  assertEquals(started, [0, 1, 2, 3, 4]);
  assertEquals((await results).map(({ status }) => status[0]), ["r", "f", "f", "f", "f", "r"]);
  // All slots are free again, that of the work that failed too.
  const later = [
    semaphore.run(() => Promise.resolve("a")),
    semaphore.run(() => Promise.resolve("b")),
  ];
  assertEquals(await Promise.all(later), ["a", "b"]);
});

test("a semaphore that is full refuses with the error that its option makes", async () => {
  const busy = new TypeError("busy");
  const semaphore = new Semaphore({ concurrency: 1, maxWaiting: 0, full: () => busy });
  const lock = deferred();
  const first = semaphore.run(() => lock.promise);
  assertStrictEquals(await semaphore.run(() => lock.promise).catch((error) => error), busy);
  lock.resolve();
  await first;
  await semaphore.run(() => Promise.resolve());
});

test("a slot that is handed over cannot be taken by work that arrives in between", async () => {
  const semaphore = new Semaphore({ concurrency: 1, maxWaiting: 10 });
  let running = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++running);
    await quietMoment();
    running--;
  };
  const first = semaphore.run(work);
  const second = semaphore.run(work);
  await first;
  await Promise.all([second, semaphore.run(work), semaphore.run(work)]);
  assertEquals(most, 1);
});
