// Whatever happens in whichever order: each handler gets each event once and in order, from the first of
// its kept events on, or is told of a gap.

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { JsonRpc, JsonRpcClient } from "@x/jsonrpc";
import type { EventInfo } from "@x/jsonrpc/client";
import { memoryBroker } from "@x/jsonrpc/memory";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { LinkedSocket } from "@x/jsonrpc/testing";
import type { Broker } from "../../src/brokers/broker.ts";
import { LateBroker } from "../helpers/brokers/late_broker.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

type Step =
  | { readonly kind: "publish"; readonly count: number }
  | { readonly kind: "join"; readonly last: number }
  | { readonly kind: "cut" | "pause" };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("publish" as const), count: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ kind: fc.constant("join" as const), last: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ kind: fc.constantFrom("cut" as const, "pause" as const) }),
  ),
  { minLength: 3, maxLength: 20 },
);

/** One handler: what it got, `gap` for a gap. */
class Handler {
  readonly got: (number | "gap")[] = [];
  readonly retained: number[] = [];

  readonly handle = (n: unknown, { retained }: EventInfo): void => {
    this.got.push(n as number);
    if (retained) this.retained.push(n as number);
  };

  /** Fails if an event came twice, out of order, or not at all without a gap. */
  check(from: number, to: number): void {
    let before: number | undefined;
    for (const each of this.got) {
      if (each === "gap") before = undefined;
      else {
        if (before !== undefined) assertEquals(each, before + 1, this.got.join());
        before = each;
      }
    }
    assertEquals(before, to, this.got.join());
    const numbers = this.got.filter((each) => each !== "gap") as number[];
    assertEquals(numbers, [...new Set(numbers)], this.got.join());
    assert(this.got.includes("gap") || (numbers[0] as number) <= from + 1, this.got.join());
  }
}

async function run(broker: Broker, script: readonly Step[]): Promise<void> {
  const rpc = new JsonRpc({ broker, logger: silentLog() }).topic("t", { history: { size: 5000 } });
  let far: LinkedSocket | undefined;
  class Socket {
    constructor() {
      const [near, other] = linkedSockets();
      far = other;
      rpc.attach(other);
      return near as never;
    }
  }
  const client = new JsonRpcClient("ws://property.example", {
    logger: silentLog(),
    reconnect: { minMs: 0, maxMs: 0 },
    WebSocket: Socket as never,
  });
  await client.connect();
  let published = 0;
  const publish = () => rpc.publish("t", ++published).position;
  // With each handler, how much was published when its subscription was complete.
  const handlers: [handler: Handler, from: number][] = [];
  const joining: Promise<unknown>[] = [];
  const first = new Handler();
  const onGap = (handler: Handler) => () => void handler.got.push("gap");
  await client.subscribe("t", first.handle, { recover: true, onGap: onGap(first) });
  for (const step of script) {
    if (step.kind === "publish") { for (let n = 0; n < step.count; n++) await publish(); }
    else if (step.kind === "join") {
      const handler = new Handler();
      const entry: [Handler, number] = [handler, 0];
      handlers.push(entry);
      const options = { recover: true, last: step.last, onGap: onGap(handler) };
      const subscribing = client.subscribe("t", handler.handle, options);
      joining.push(subscribing.then(() => entry[1] = published));
    } else if (step.kind === "cut") far?.close(1001);
    else await quietMoment();
  }
  await Promise.all(joining);
  await until(() => client.state === "open");
  await publish();
  const all = [first, ...handlers.map(([handler]) => handler)];
  await until(() => all.every(({ got }) => got.at(-1) === published));
  // The first is never told of a gap, since the history is long enough.
  assertEquals(first.got, Array.from({ length: published }, (_, index) => index + 1));
  assertEquals(first.retained, []);
  for (const [handler, from] of handlers) handler.check(from, published);
  await client.close();
  await rpc.close();
}

const BROKERS = { "in memory": () => memoryBroker(), "on a late broker": () => new LateBroker() };

for (const [where, broker] of Object.entries(BROKERS)) {
  test(`handlers with last, joining at any time, miss nothing and get nothing twice, ${where}`, async () => {
    await fc.assert(fc.asyncProperty(steps, (script) => run(broker(), script)), { numRuns: 150 });
  });
}
