/**
 * Ports for programs that must know theirs before they listen.
 */
import { createServer } from "node:net";

// Below the range from which systems take ports for outgoing connections: a port of that range may be taken
// between this look and the program's start. Above 10080, to which browsers do not connect.
const LEAST = 12_000;
const COUNT = 20_000;

/** Gives a TCP port of the loopback address that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LEAST + Math.floor(Math.random() * COUNT);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
