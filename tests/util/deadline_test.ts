import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { DeadlineQueue } from "../../src/util/deadline.ts";
import type { Due } from "../../src/util/deadline.ts";
import { until } from "../helpers/deferred.ts";
import { block, withClock } from "../helpers/sleep.ts";

/** Members that write down that they are late. */
function members(late: string[]): (name: string) => Due {
  return (name) => ({ late: () => late.push(name) });
}

test("DeadlineQueue tells each member that is late, in order, and no other", async () => {
  await withClock((clock) => {
    const late: string[] = [];
    const [first, removed, renewed, last] = ["first", "removed", "renewed", "last"]
      .map(members(late)) as [Due, Due, Due, Due];
    const queue = new DeadlineQueue<Due>(1_000);
    for (const each of [first, removed, renewed]) queue.begin(each);
    clock.tick(600);
    queue.begin(last);
    queue.begin(renewed);
    queue.delete(removed);
    assertEquals([...queue], [first, last, renewed]);
    clock.tick(401);
    assertEquals(late, ["first"]);
    clock.tick(600);
    assertEquals([late, queue.size, clock.countTimers()], [["first", "last", "renewed"], 0, 0]);
    return Promise.resolve();
  });
});

test("DeadlineQueue lets a member that is late begin again", async () => {
  await withClock((clock) => {
    const queue = new DeadlineQueue<Due>(1_000);
    let times = 0;
    const member = { late: () => ++times < 3 && queue.begin(member) };
    queue.begin(member);
    clock.tick(2_002);
    assertEquals([times, clock.countTimers()], [2, 1]);
    clock.tick(1_001);
    assertEquals([times, clock.countTimers()], [3, 0]);
    return Promise.resolve();
  });
});

test("DeadlineQueue sets one timer for all members, and none once it is cleared", async () => {
  await withClock((clock) => {
    const late: string[] = [];
    const queue = new DeadlineQueue<Due>(1_000);
    for (let n = 0; n < 100; n++) {
      const member = members(late)(`${n}`);
      queue.begin(member);
      if (n % 2 === 0) queue.delete(member);
      clock.tick(1);
    }
    assertEquals([queue.size, clock.countTimers()], [50, 1]);
    queue.clear();
    assertEquals([queue.size, clock.countTimers()], [0, 0]);
    clock.tick(5_000);
    assertEquals(late, []);
    return Promise.resolve();
  });
});

test("DeadlineQueue reads what has arrived before a member is late, after each block of the process", async () => {
  const late: string[] = [];
  const queue = new DeadlineQueue<Due>(100);
  for (const name of ["one", "two", "three"]) {
    const member = members(late)(name);
    queue.begin(member);
    // What has arrived is read in the turns after the block.
    const read = new Promise<void>((resolve) => setTimeout(() => setTimeout(resolve, 1), 1));
    block(300);
    await read;
    queue.delete(member);
  }
  const silent = members(late)("silent");
  queue.begin(silent);
  block(300);
  await until(() => late.length > 0);
  assertEquals([late, queue.size], [["silent"], 0]);
});
