/**
 * The broker of Durable Objects, on the SQLite of this runtime. `workers_test.ts` has it in an object.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { DatabaseSync } from "node:sqlite";
import { storageBroker } from "../../src/runtimes/workers/storage_broker.ts";
import type { BrokerHistory } from "../../src/brokers/broker.ts";
import { brokerCases, dataOf, publishAll, Recorder } from "./broker_cases.ts";

const KEEP = { size: 3, ageMs: Infinity };
const NOTHING = { size: 0, ageMs: 0 };

/** What an object has as `state.storage`. */
function storage(database: DatabaseSync) {
  return {
    sql: {
      exec(query: string, ...bindings: (string | number)[]) {
        if (bindings.length === 0 && query.includes(";")) {
          database.exec(query);
          return { toArray: () => [] };
        }
        // The statement runs at once, also if its rows are not asked for.
        const rows = database.prepare(query).all(...bindings) as Record<string, unknown>[];
        return { toArray: () => rows };
      },
    },
  };
}

for (const { name, run } of brokerCases) {
  test(`storageBroker: ${name}`, async () => {
    // One object has one broker: all nodes are the same.
    const broker = storageBroker(storage(new DatabaseSync(":memory:")));
    await run(() => broker);
  });
}

test("storageBroker() has its events and positions when its object is back in memory", async () => {
  const database = new DatabaseSync(":memory:");
  const early = storageBroker(storage(database));
  const positions = await publishAll(early, "a", [1, 2, 3, 4], KEEP);
  const quiet = await early.subscribe("quiet", KEEP, new Recorder());
  const late = storageBroker(storage(database));
  const since = late.history("a", KEEP, { since: positions[1]! }) as BrokerHistory;
  assertEquals([dataOf(since.events), since.complete], [[3, 4], true]);
  assertEquals((late.history("a", KEEP, { since: positions[0]! }) as BrokerHistory).complete, true);
  const fromStart = late.history("a", KEEP, { since: { ...positions[0]!, offset: 0 } });
  assertEquals((fromStart as BrokerHistory).complete, false);
  assertEquals((await late.subscribe("quiet", KEEP, new Recorder())).position, quiet.position);
  const [next] = await publishAll(late, "a", [5], KEEP);
  assertEquals(next, { ...positions[3]!, offset: 5 });
});

test("storageBroker() writes nothing for topics that keep nothing", async () => {
  const database = new DatabaseSync(":memory:");
  const broker = storageBroker(storage(database));
  await publishAll(broker, "a", [1, 2], NOTHING);
  assertEquals(database.prepare("SELECT * FROM jsonrpc_topics").all(), []);
  assertEquals(database.prepare("SELECT * FROM jsonrpc_events").all(), []);
});

test("storageBroker() brings the events of a topic that is declared anew", async () => {
  const broker = storageBroker(storage(new DatabaseSync(":memory:")));
  const recorder = new Recorder();
  await broker.subscribe("a", NOTHING, new Recorder());
  await publishAll(broker, "a", [-1, 0], NOTHING);
  await broker.subscribe("a", NOTHING, recorder);
  await publishAll(broker, "a", [1], NOTHING);
  await publishAll(broker, "a", [2, 3], KEEP);
  await publishAll(broker, "a", [4], NOTHING);
  await publishAll(broker, "a", [5], KEEP);
  assertEquals(recorder.data, [1, 2, 3, 4, 5]);
});

test("storageBroker() leaves no hole in history when the clock has gone back", async () => {
  const database = new DatabaseSync(":memory:");
  const broker = storageBroker(storage(database));
  await publishAll(broker, "a", [1, 2, 3], { size: 9, ageMs: 3_600_000 });
  database.exec("UPDATE jsonrpc_events SET at = 0 WHERE number = 2");
  const { events } = broker.history("a", { size: 9, ageMs: 3_600_000 }, {}) as BrokerHistory;
  assertEquals(dataOf(events), [3]);
});
