/**
 * A TCP proxy that treats bytes as networks do: it delays them, splits them into small chunks, holds them back,
 * drops them, breaks off in the middle of a frame, or closes one direction only.
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { LocalServer } from "./server.ts";

/** The direction of bytes: `up` to the server, `down` to the client. */
export type Way = "up" | "down";

/** What happens to the bytes of one direction. */
export type Fate = "pass" | "late" | "crumbs" | "hold" | "lose";

const HOSTNAME = "127.0.0.1";
const LATE_MS = 5;
const CRUMB_BYTES = 7;

/** One direction of one connection. */
class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #ended: () => void;
  #fate: Fate = "pass";
  #left = Infinity;
  // Bytes that were read are written in their order, even if the fate changes meanwhile.
  #tail = Promise.resolve();

  constructor(from: Socket, to: Socket, ended: () => void) {
    this.#from = from;
    this.#to = to;
    this.#ended = ended;
    from.on("data", (chunk: Uint8Array) => this.#take(chunk));
    from.on("end", () => this.#fate !== "lose" && this.#then(() => void to.end()));
  }

  /** Sets the fate of all bytes from now on. */
  become(fate: Fate): void {
    this.#fate = fate;
    if (fate === "hold") this.#from.pause();
    else this.#from.resume();
  }

  /** Lets a number of bytes through, then cuts the connection. */
  breakAfter(bytes: number): void {
    this.#left = bytes;
  }

  /** Closes this direction, and drops all further bytes. */
  end(): void {
    this.#fate = "lose";
    this.#then(() => void this.#to.end());
  }

  #take(chunk: Uint8Array): void {
    if (this.#fate === "lose") return;
    const bytes = chunk.subarray(0, Math.min(this.#left, chunk.length));
    this.#left -= bytes.length;
    const size = this.#fate === "crumbs" ? CRUMB_BYTES : bytes.length;
    const late = this.#fate === "late";
    for (let at = 0; at < bytes.length; at += size) {
      this.#then(() => this.#write(bytes.subarray(at, at + size), late));
    }
    if (this.#left === 0) this.#then(this.#ended);
  }

  #then(next: () => void | Promise<void>): void {
    this.#tail = this.#tail.then(next);
  }

  async #write(bytes: Uint8Array, late: boolean): Promise<void> {
    if (late) await new Promise((resolve) => setTimeout(resolve, LATE_MS));
    if (this.#to.destroyed || !this.#to.writable) return;
    await new Promise<void>((resolve) => this.#to.write(bytes, () => resolve()));
  }
}

/** One connection through the proxy. */
export class Link {
  readonly up: Flow;
  readonly down: Flow;
  readonly #ends: readonly Socket[];

  /** @param ends The sockets of the client and of the server. */
  constructor(...ends: [client: Socket, server: Socket]) {
    const [client, server] = ends;
    this.#ends = ends;
    const cut = () => this.cut();
    this.up = new Flow(client, server, cut);
    this.down = new Flow(server, client, cut);
    for (const end of ends) end.setNoDelay(true).on("error", cut).on("close", cut);
  }

  /** Cuts both directions at once. */
  cut(): void {
    for (const end of this.#ends) end.destroy();
  }
}

/** A server behind the proxy. */
export interface Proxy extends LocalServer {
  /** All connections so far, in their order. */
  readonly links: readonly Link[];
  /** The newest of them. */
  readonly last: Link;
  /** Called with each new connection before its first byte. */
  greet: ((link: Link) => void) | undefined;
}

/**
 * Puts a proxy before a server.
 *
 * @param url The server's URL; it need not listen yet.
 */
export async function proxy(url: string): Promise<Proxy> {
  const port = Number(new URL(url).port);
  const links: Link[] = [];
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    const link = new Link(client, connect({ port, host: HOSTNAME, allowHalfOpen: true }));
    links.push(link);
    made.greet?.(link);
  });
  await new Promise<void>((resolve) => listener.listen(0, HOSTNAME, resolve));
  async function stop(): Promise<void> {
    const closed = new Promise((resolve) => listener.close(resolve));
    for (const link of links) link.cut();
    await closed;
  }
  const host = `${HOSTNAME}:${(listener.address() as AddressInfo).port}`;
  const made: Proxy = {
    links,
    greet: undefined,
    get last() {
      return links.at(-1) as Link;
    },
    url: `http://${host}`,
    ws: `ws://${host}`,
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return made;
}
