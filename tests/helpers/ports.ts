/**
 * Ports for programs that must know theirs before they listen.
 */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** Gives a TCP port of the loopback address that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
