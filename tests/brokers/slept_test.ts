/**
 * A broker whose process was blocked, or asleep, reads what its engine has sent before it gives the engine up.
 */
import { assertEquals } from "@std/assert";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import type { Broker } from "../../src/brokers/broker.ts";
import { answeringFirst } from "../../src/brokers/nats/probe.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import { Recorder } from "./broker_cases.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { block } from "../helpers/sleep.ts";

const KEEP = { size: 100, ageMs: Infinity };

const BROKERS = {
  redis: (port: number, logger: Log) =>
    redisBroker({ url: `redis://127.0.0.1:${port}`, logger, publishTimeoutMs: 400 }),
  nats: (port: number, logger: Log) =>
    natsBroker({ servers: `127.0.0.1:${port}`, logger, publishTimeoutMs: 400, storage: "memory" }),
} as const;

for (const [name, make] of Object.entries(BROKERS) as [keyof typeof BROKERS, MakeBroker][]) {
  const needed = await needs(`${name}-server`);

  test(
    `${name}Broker() publishes, reads and hears across blocks longer than publishTimeoutMs`,
    needed,
    async () => {
      await using engine = await startEngine(name);
      const logger = silentLog();
      const broker = make(engine.port, logger);
      const recorder = new Recorder();
      await untilItWorks(async () => await broker.publish("news", "0", KEEP));
      await broker.subscribe("news", KEEP, recorder);
      for (const pause of [0, 1, 2]) {
        const published = broker.publish("news", `${pause + 1}`, KEEP);
        const read = broker.history("news", KEEP, { limit: 10 });
        // Blocks at once, with the request unsent, and with the answer on its way.
        for (let n = 0; n < 20 * pause; n++) await Promise.resolve();
        if (pause === 2) await new Promise((resolve) => setTimeout(resolve));
        block(900);
        await published;
        await read;
      }
      await until(() => recorder.data.length === 3);
      assertEquals([recorder.data, recorder.gaps, logger.lines], [[1, 2, 3], [], []]);
      await broker.close();
    },
  );
}

type MakeBroker = (port: number, logger: Log) => Broker;

/** The first connection may take longer than this short patience. */
async function untilItWorks(work: () => Promise<unknown>): Promise<void> {
  await until(() => work().then(() => true, () => false));
}

test("a NATS server whose greeting is unread after a block counts as one that answers", async () => {
  const server = createServer((socket) => {
    block(500);
    socket.write("INFO {}\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { signal } = new AbortController();
  assertEquals(await answeringFirst([address], { signal, timeoutMs: 200 }), [address]);
  await new Promise((resolve) => server.close(resolve));
});
