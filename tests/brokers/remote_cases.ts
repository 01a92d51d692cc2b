/**
 * What the tests of brokers with an engine have in common.
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { test } from "node:test";
import type { Broker } from "../../src/brokers/broker.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import type { needs } from "../helpers/needs.ts";
import { brokerCases, dataOf, publishAll, Recorder } from "./broker_cases.ts";
import { faultCases } from "./fault_cases.ts";
import type { BrokerMaker } from "./fault_cases.ts";

const KEEP = { size: 100, ageMs: Infinity };

/** Tests a broker with all cases, each with an engine of its own. */
export function testRemoteBroker(maker: BrokerMaker, need: Awaited<ReturnType<typeof needs>>) {
  for (const { name, run } of brokerCases) {
    test(`${maker.name}Broker(): ${name}`, need, async () => {
      await using engine = await startEngine(maker.name);
      await run(() => maker.make(engine.port, silentLog(), 20_000));
    });
  }
  for (const { name, run } of faultCases) {
    test(`${maker.name}Broker(), ${name}`, need, async () => {
      await run(maker);
    });
  }
}

/** Makes sure that a broker publishes, hears and reads; ends it. */
export async function assertWorks(broker: Broker): Promise<void> {
  try {
    const recorder = new Recorder();
    const { position } = await broker.subscribe("news", KEEP, recorder);
    await publishAll(broker, "news", [1, 2], KEEP);
    await recorder.some(2);
    const history = await broker.history("news", KEEP, { since: position });
    assertEquals([recorder.data, dataOf(history.events), history.complete], [[1, 2], [1, 2], true]);
  } finally {
    await broker.close();
  }
}

/** Makes sure that a broker with a wrong password says why, and says no password; ends it. */
export async function assertRefused(broker: Broker, log: Log, why: RegExp): Promise<void> {
  const failure = await assertRejects(async () => await broker.publish("a", "1", KEEP), Error);
  assertMatch(failure.message, why);
  await broker.close();
  assertEquals(/s3cret/.test(log.text + failure.message + failure.stack), false);
}
