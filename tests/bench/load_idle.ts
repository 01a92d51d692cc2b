/**
 * Measures what a connection costs the server that has made one call and is silent since.
 */
import { BareSocket, frame } from "./bare_socket.ts";
import { DIALECTS } from "./dialects.ts";
import type { Dialect } from "./dialects.ts";
import type { Job, Outcome } from "./measure.ts";
import { pause, residentBytes } from "./measure.ts";

/** Runs one job. */
export async function runIdle(job: Job): Promise<Outcome> {
  const { port, pid, connections } = job;
  const text = frame((DIALECTS[job.dialect] as Dialect).encode(1, "add", { a: 1, b: 2 }));
  const sockets: BareSocket[] = [];
  async function open(count: number): Promise<void> {
    for (let left = count; left > 0; left -= OPENING) {
      await Promise.all(Array.from({ length: Math.min(left, OPENING) }, async () => {
        const socket = await BareSocket.open(port);
        sockets.push(socket);
        await new Promise<void>((resolve) => {
          socket.ontext = () => resolve();
          socket.write(text);
        });
      }));
    }
    await pause(SETTLE_MS);
  }
  // The first connections also pay for what the runtime allocates once.
  await open(Math.ceil(connections / 10));
  const before = residentBytes(pid);
  await open(connections);
  const bytes = (residentBytes(pid) - before) / connections;
  for (const socket of sockets) socket.end();
  return { count: connections, ms: NaN, cpuMs: NaN, p50Ms: NaN, bytes };
}

const OPENING = 50;
const SETTLE_MS = 1000;
