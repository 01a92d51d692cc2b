/**
 * A process that closes its broker while that still connects. It has to end by itself: nothing may be left
 * that keeps it alive.
 *
 *     deno run -A tests/programs/broker_close.ts KIND PORT
 */
import process from "node:process";
import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import type { Broker } from "@x/jsonrpc/broker";

const [kind = "", port] = process.argv.slice(2);
const node = { host: "127.0.0.1", port: Number(port) };
const url = `redis://127.0.0.1:${port}`;
const more = { logger: { debug() {}, info() {}, warn() {}, error() {} }, publishTimeoutMs: 2_000 };
const makers: Record<string, () => Broker> = {
  redis: () => redisBroker({ url, ...more }),
  sentinel: () => redisBroker({ sentinel: { name: "news", sentinelRootNodes: [node] }, ...more }),
  cluster: () => redisBroker({ cluster: { rootNodes: [{ url }] }, ...more }),
  nats: () => natsBroker({ servers: `127.0.0.1:${port}`, ...more }),
};
const broker = (makers[kind] as () => Broker)();
const keep = { size: 1, ageMs: Infinity };
const sink = { event() {}, gap() {} };
const failures = Promise.allSettled([
  Promise.resolve(broker.publish("a", "1", keep)),
  Promise.resolve(broker.subscribe("a", keep, sink)),
]);
await new Promise((resolve) => setTimeout(resolve, 300));
await broker.close();
const statuses = (await failures).map(({ status }) => status);
console.log(`CLOSED ${statuses.join(" ")}`);
