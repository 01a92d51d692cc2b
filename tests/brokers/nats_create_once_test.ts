import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect } from "@nats-io/transport-node";
import type { NatsConnection } from "@nats-io/transport-node";
import { createOnce } from "../../src/brokers/nats/create_once.ts";
import { NatsStream } from "../../src/brokers/nats/stream.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import { needs } from "../helpers/needs.ts";

const nats = await needs("nats-server");

/** Connections to a server of their own. */
async function withConnections(
  count: number,
  use: (...connections: NatsConnection[]) => Promise<void>,
): Promise<void> {
  await using engine = await startEngine("nats");
  const servers = `127.0.0.1:${engine.port}`;
  const connections = await Promise.all(
    Array.from({ length: count }, () => connect({ servers, reconnect: false })),
  );
  try {
    await use(...connections);
  } finally {
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

test(
  "NatsStream.require() makes a stream once, however many want it at the same moment",
  nats,
  async () => {
    const options = { name: "s", storage: "file", replicas: 1, retryMs: 20_000 } as const;
    const keep = { size: 10, ageMs: Infinity };
    // The first stream of a server takes it longest: there is most time to make it twice.
    for (let round = 0; round < 15; round++) {
      await withConnections(8, async (...connections) => {
        const streams = await Promise.all(connections.map((each) => NatsStream.on(each, options)));
        const epochs = await Promise.all(streams.map((stream) => stream.require(keep)));
        assertEquals(new Set(epochs).size, 1);
        const publish = (stream: NatsStream, n: number) =>
          stream.append(
            stream.subject("a"),
            { data: `${n}`, id: `${n}`, isOver: () => false, sent: () => {} },
            keep,
          );
        const positions = await Promise.all(streams.map(publish));
        assertEquals(positions.map(({ offset }) => offset).sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
      });
    }
  },
);

test(
  "NatsStream.require() asks again where a server that has only just started does not answer",
  nats,
  async () => {
    await withConnections(2, async (connection, silent) => {
      silent.subscribe("silence");
      await silent.flush();
      let lost = 0;
      const request: NatsConnection["request"] = (subject, data, options) => {
        const isLost = /STREAM\.INFO/.test(subject) && lost++ === 0;
        return connection.request(isLost ? "silence" : subject, data, options);
      };
      const lossy = new Proxy(connection, {
        get: (target, name) => name === "request" ? request : Reflect.get(target, name),
      });
      const options = { name: "s", storage: "file", replicas: 1, retryMs: 20_000 } as const;
      const stream = await NatsStream.on(lossy, options);
      const required = stream.require({ size: 10, ageMs: Infinity });
      const late = new Promise((resolve) => {
        const timer = setTimeout(resolve, 30_000, "late");
        required.finally(() => clearTimeout(timer));
      });
      assertEquals(await Promise.race([required, late]), stream.epoch);
      assert(lost > 1);
    });
  },
);

const subject = "s.making";
const made = () => Promise.resolve("made");

test(
  "createOnce() waits for a server with a lower id, and makes the stream if that server gives up",
  nats,
  async () => {
    await withConnections(2, async (connection, other) => {
      if (!connection.info?.version.startsWith("2.9.")) return; // newer ones need none of it
      let [claims, asked] = [0, 0];
      const subscription = other.subscribe(subject, {
        callback: (_error, message) => {
          if (message.string() === "") return; // its own
          if (++claims === 3) subscription.unsubscribe();
          else other.publish(subject, "");
        },
      });
      await other.flush();
      const find = () => Promise.resolve(void asked++);
      assertEquals(await createOnce(connection, { subject, find, make: made }), "made");
      assertEquals([claims, asked], [3, 3]);
    });
  },
);

test("createOnce() finds what another server has made meanwhile", nats, async () => {
  await withConnections(1, async (connection) => {
    const make = () => Promise.reject(new Error("made twice"));
    const find = () => Promise.resolve("found");
    if (!connection.info?.version.startsWith("2.9.")) return;
    assertEquals(await createOnce(connection, { subject, find, make }), "found");
  });
});

test("createOnce() asks no other server if NATS is new enough", async () => {
  for (const version of ["2.10.2", "2.11.0", "3.0.0-beta.1"]) {
    const connection = { info: { version } } as unknown as NatsConnection;
    const find = () => Promise.reject(new Error("asked"));
    assertEquals(await createOnce(connection, { subject, find, make: made }), "made");
  }
});
