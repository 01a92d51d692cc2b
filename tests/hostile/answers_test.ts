/**
 * Answers that nobody has asked for, and what connections leave behind.
 */
import { assert, assertEquals } from "@std/assert";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { call, failure, result } from "../helpers/messages.ts";
import { dial, frameSocket, rawPost, RawSocket } from "../helpers/raw_client.ts";
import { bareServer } from "../helpers/wire.ts";
import { silentLog } from "../helpers/log.ts";
import { until } from "../helpers/deferred.ts";
import { assertAnswers, attack } from "./attack.ts";

const COUNT = 20_000;

/** The nth answer to nothing. */
function unsolicited(n: number): unknown {
  const id = [n, `${n}`, null, n / 2][n % 4];
  return n % 3 === 0 ? failure(id, -32603) : result(id, "unsolicited");
}

await attack(
  `${COUNT} answers that nobody has asked for get no answer`,
  {},
  async ({ url }) => {
    const line = await RawSocket.open(url);
    for (let n = 0; n < COUNT; n += 2) {
      line.send(unsolicited(n), [unsolicited(n + 1), unsolicited(n)]);
      // The next message is the answer to a ping.
      if (n % 1000 === 0) await line.assertSilent();
    }
    await line.leave();
  },
);

test(`${COUNT} answers that a client has not asked for get no answer`, async () => {
  const [client, server] = await bareServer({ logger: silentLog() });
  for (let n = 0; n < COUNT; n++) server.send(n % 2 === 0 ? unsolicited(n) : [unsolicited(n)]);
  const pong = client.call("ping");
  const { id } = await server.next();
  server.send(result(id, "pong"));
  assertEquals(await pong, "pong");
  assertEquals(server.received.length, 1);
  await client.close();
});

/** How many files and sockets a process has open; 0 on systems without /proc. */
function descriptors(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

await attack(
  "connections that come, break rules and go leave no descriptor",
  {},
  async (server) => {
    const { url, pid } = server;
    await assertAnswers(server);
    const before = descriptors(pid);
    for (let round = 0; round < 30; round++) {
      const sockets = await Promise.all([dial(url), dial(url), frameSocket(url), frameSocket(url)]);
      const [silent, half, cut, broken] = sockets;
      half?.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
      broken?.write(new Uint8Array(20).fill(0xff));
      for (const each of [silent, half, cut]) each?.resetAndDestroy();
      const line = await RawSocket.open(url);
      line.send(call("wait", 1, [60_000]), call("subscribe", 2, ["news"]));
      await line.next();
      line.disconnect();
      await rawPost(url, "[".repeat(1000));
      broken?.destroy();
    }
    await until(() => descriptors(pid) <= before + 8);
    assert(descriptors(pid) <= before + 8);
    await assertAnswers(server);
  },
);
