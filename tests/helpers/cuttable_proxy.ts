/**
 * A TCP proxy that cuts connections as a pulled cable does.
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { LocalServer } from "./server.ts";

const HOSTNAME = "127.0.0.1";

/** A server behind the proxy. */
export interface CuttableProxy extends LocalServer {
  /** Ends all connections at once, without a close frame. */
  cut(): void;
}

/** Puts a proxy in front of a server. */
export async function cuttableProxy(server: LocalServer): Promise<CuttableProxy> {
  const ends = new Set<Socket>();
  const target = Number(new URL(server.url).port);
  const listener = createServer((near) => {
    const far = connect(target, HOSTNAME);
    for (const [from, to] of [[near, far], [far, near]] as const) {
      ends.add(from);
      from.on("error", () => {}).on("close", () => to.destroy()).pipe(to);
    }
  });
  await new Promise<void>((resolve) => listener.listen(0, HOSTNAME, resolve));
  function cut(): void {
    for (const end of ends) end.destroy();
    ends.clear();
  }
  async function stop(): Promise<void> {
    const closed = new Promise((resolve) => listener.close(resolve));
    cut();
    await closed;
  }
  const host = `${HOSTNAME}:${(listener.address() as AddressInfo).port}`;
  return { url: `http://${host}`, ws: `ws://${host}`, stop, cut, [Symbol.asyncDispose]: stop };
}
