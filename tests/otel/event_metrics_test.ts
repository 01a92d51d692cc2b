/**
 * What telemetry says of events: how many were published, delivered, dropped or lost, and the queues.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { otel } from "@x/jsonrpc/otel";
import { linkedSockets } from "@x/jsonrpc/testing";
import { silentLog } from "../helpers/log.ts";
import { Recorder } from "./recorder.ts";

test("metrics: events published, delivered, dropped and lost, and what a client leaves unread", async () => {
  const recorder = new Recorder();
  const metrics = async (...names: string[]) => {
    const all = await recorder.metrics();
    return names.map((name) => Number(all.get(`jsonrpc.server.${name}`)?.at(-1)?.value));
  };
  await using rpc = new JsonRpc({ maxBufferedBytes: 4096, logger: silentLog() })
    .use(otel(recorder.options))
    .topic("a", { slowConsumer: "latest" })
    .topic("b", { history: { size: 1 } });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  await client.subscribe("a", () => {});
  rpc.publish("a", "in time");
  assertEquals(await metrics("events.published", "events.delivered", "events.dropped"), [1, 1, 0]);

  const socket = far as { bufferedAmount: number };
  socket.bufferedAmount = 3000; // as if the peer did not read
  for (let n = 0; n < 100; n++) rpc.publish("a", n);
  const [published, dropped, buffered] = await metrics(
    "events.published",
    "events.dropped",
    "buffered",
  );
  assertEquals([published, buffered], [101, 3000]);
  assert(Number(dropped) > 0 && dropped === rpc.stats().events.dropped, `${dropped}`);

  socket.bufferedAmount = 0;
  const since = { b: "another-epoch:1" };
  await client.call("subscribe", { topics: ["b"], recover: true, since });
  assertEquals(await metrics("events.gaps", "buffered", "subscriptions", "topics"), [1, 0, 2, 2]);
  await recorder.end();
});
