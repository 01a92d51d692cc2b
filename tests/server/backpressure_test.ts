/**
 * Peers that ask and never read: what they cost is bounded, and the others notice nothing. Each against a
 * server in a process of its own, whose memory is looked at.
 */
import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import process from "node:process";
import { frame, frameSocket, RawSocket, TEXT } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { call, result } from "../helpers/messages.ts";
import type { SpawnedServer } from "../helpers/spawn_server.ts";
import { servedTargets } from "../helpers/targets.ts";

/** A peer that was answered once and reads nothing from now on. */
async function deafPeer(url: string): Promise<Socket> {
  const socket = await frameSocket(url);
  return socket.pause();
}

function say(socket: Socket, message: unknown): void {
  if (!socket.destroyed) socket.write(frame(TEXT, JSON.stringify(message)));
}

const isLinux = process.platform === "linux";
if (!isLinux) {
  console.error("SKIPPED the looks at the server's memory and sockets: there is no /proc");
}

/** How many MiB of memory a process holds; 0 where nobody tells. */
function memoryOf({ pid }: SpawnedServer): number {
  if (!isLinux) return 0;
  const [, kib] = /VmRSS:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

/** How many sockets a server holds, the one that listens included; 0 where nobody tells. */
function socketsOf({ url }: SpawnedServer): number {
  if (!isLinux) return 0;
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, "0");
  const lines = readFileSync("/proc/net/tcp", "utf8").trim().split("\n");
  // Number, local address, …, the inode of the holder: 0 where the process has let go of it.
  return lines.map((line) => line.trim().split(/\s+/))
    .filter(([, local, , , , , , , , inode]) => local?.endsWith(`:${port}`) && inode !== "0")
    .length;
}

/** Makes sure that a server holds at most some MiB more after something than before. */
async function assertBounded(
  server: SpawnedServer,
  mib: number,
  run: () => Promise<void>,
): Promise<void> {
  const before = memoryOf(server);
  await run();
  const growth = memoryOf(server) - before;
  assert(growth < mib, `grew by ${growth.toFixed(1)} MiB, expected less than ${mib}`);
}

/** How many connections a server still keeps, and how many of them are open. */
async function counts(line: RawSocket): Promise<unknown[]> {
  return [
    (await line.ask(call("connections", "c"))).result,
    (await line.ask(call("open", "o"))).result,
  ];
}

/**
 * Waits until nothing is left of a peer that was closed and reads nothing. Deno's own server cannot cut it
 * off: there its place is taken until it goes by itself.
 */
async function assertFreed(server: SpawnedServer, deaf: Socket, line: RawSocket): Promise<void> {
  await until(async () => (await counts(line))[0] === 1);
  // The one that listens, and the one that asks.
  if (isLinux) await until(() => socketsOf(server) === 2);
  deaf.destroy();
}

for (const target of await servedTargets()) {
  target.test("a peer that asks for 156 MiB and reads nothing costs less than 64", async (server) => {
    const other = await RawSocket.open(server.url);
    const deaf = await deafPeer(server.url);
    await assertBounded(server, 64, async () => {
      for (let id = 0; id < 164; id++) {
        say(deaf, call("large", id, [1_000_000]));
        // The other is answered all the while.
        assertEquals(await other.ask(call("echo", id, [id])), result(id, [id]));
      }
      await until(async () => (await counts(other))[1] === 1);
    });
    if (target.isDenoServe) deaf.destroy();
    await assertFreed(server, deaf, other);
    await other.leave();
  });

  target.test("156 MiB of events for a peer that reads nothing cost less than 128", async (server) => {
    const other = await RawSocket.open(server.url);
    const publisher = await RawSocket.open(server.url);
    await other.ask(call("subscribe", 1, ["news"]));
    const events = Array.from({ length: 50 }, (_, n) => `${n}`.padEnd(16_000, "x"));
    async function publish(rounds: number): Promise<void> {
      for (let round = 0; round < rounds; round++) {
        await publisher.ask(call("publish", round, ["news", ...events]));
        // The other misses none.
        assertEquals((await other.some(events.length)).map(({ params }) => params), events);
      }
    }
    // What a server needs for so many events at all is not what the deaf peer costs.
    await publish(200);
    const deaf = await deafPeer(server.url);
    say(deaf, call("subscribe", 2, ["news"]));
    await until(async () => (await counts(publisher))[1] === 3);
    // Node alone may keep 80 of the 156 MiB as garbage, with no such peer too.
    await assertBounded(server, 128, () => publish(200));
    await until(async () => (await counts(publisher))[1] === 2);
    await publisher.leave();
    if (target.isDenoServe) deaf.destroy();
    await assertFreed(server, deaf, other);
    await other.leave();
  });
}
