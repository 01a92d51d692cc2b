/**
 * Finds out which servers answer before the client connects to one.
 *
 * The client never closes its socket to a server that accepts it and says nothing, such as one that is
 * suspended: it would keep the process alive after `close()`.
 *
 * @module
 */

import { connect } from "node:net";
import { startDeadline } from "../../util/deadline.ts";
import type { Timer } from "../../util/timer.ts";

/** How to probe. */
export interface ProbeOptions {
  /** How long a server may take to introduce itself, in milliseconds. */
  readonly timeoutMs: number;
  /** Ends all probes. */
  readonly signal: AbortSignal;
}

// How long others may take once a server has answered.
const GRACE_MS = 100;

/**
 * Puts servers that answer before those that do not.
 *
 * @param servers Each as `host:port`.
 * @returns The same servers, in the same order within both groups.
 * @throws {Error} If none answers: why the first does not.
 */
export async function answeringFirst(
  servers: readonly string[],
  { signal, timeoutMs }: ProbeOptions,
): Promise<string[]> {
  const enough = new AbortController();
  const both = { timeoutMs, signal: AbortSignal.any([signal, enough.signal]) };
  let grace: Timer | undefined;
  const probes = servers.map(async (server) => {
    await probe(server, both);
    grace ??= setTimeout(() => enough.abort(), GRACE_MS);
  });
  const results = await Promise.allSettled(probes);
  clearTimeout(grace);
  const answers = servers.filter((_, n) => results[n]?.status === "fulfilled");
  if (answers.length === 0) throw (results[0] as PromiseRejectedResult).reason;
  return [...answers, ...servers.filter((server) => !answers.includes(server))];
}

/** Resolves when a server introduces itself. */
async function probe(server: string, { signal, timeoutMs }: ProbeOptions): Promise<void> {
  const { hostname, port } = new URL(/^\w+:\/\//.test(server) ? server : `nats://${server}`);
  const host = hostname.replace(/^\[|\]$/g, "");
  const socket = connect({ host, port: Number(port || 4222) });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const silent = new Error(`connected, but it did not answer within ${timeoutMs} ms`);
  const stop = startDeadline(timeoutMs, () => reject(silent));
  const abort = () => reject(new Error("the broker is closed"));
  signal.addEventListener("abort", abort);
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("the server closed the connection")));
  socket.once("data", () => resolve());
  if (signal.aborted) abort();
  try {
    await promise;
  } finally {
    stop();
    signal.removeEventListener("abort", abort);
    socket.destroy();
  }
}
