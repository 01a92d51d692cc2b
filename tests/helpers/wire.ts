/**
 * Connections of which the test plays one end, to see each text on the wire and to send wrong ones.
 */
import { connect } from "@x/jsonrpc";
import type { ClientOptions, JsonRpc, JsonRpcClient, RpcError } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { LinkedSocket } from "@x/jsonrpc/testing";

/** The members that a message on the wire may have. */
export interface WireMessage {
  readonly jsonrpc: "2.0";
  readonly id?: string | number | null;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: Pick<RpcError, "code" | "message" | "data">;
}

/** One end of a connection, played by the test: it sends any text and keeps every text that it receives. */
export class WirePeer {
  /** All received texts, in order. */
  readonly received: string[] = [];
  /** Called with each message, and with each entry of a batch. */
  onMessage: ((message: WireMessage) => void) | undefined;
  readonly #socket: LinkedSocket;
  readonly #waiting: (() => void)[] = [];
  #read = 0;

  constructor(socket: LinkedSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.received.push(data as string);
      this.#waiting.shift()?.();
      for (const message of [JSON.parse(data as string)].flat()) this.onMessage?.(message);
    });
  }

  /** Sends a message: JSON of a value, or a text as it is. */
  send(message: unknown): void {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** Sends a call or, without an id, a notification. */
  call(id: string | number | null | undefined, method: string, params?: unknown): void {
    this.send({ jsonrpc: "2.0", method, params, id });
  }

  /** The next message that was not read yet. */
  async next(): Promise<WireMessage> {
    if (this.#read === this.received.length) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return JSON.parse(this.received[this.#read++] as string);
  }

  /** The next few of them. */
  async some(count: number): Promise<WireMessage[]> {
    const messages: WireMessage[] = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }
}

/** Attaches a client that the test plays to a server. */
export function bareClient(rpc: Pick<JsonRpc, "attach">): WirePeer {
  const [near, far] = linkedSockets();
  const wire = new WirePeer(near);
  rpc.attach(far);
  return wire;
}

/** Connects a client to a server that the test plays. */
export async function bareServer(options: ClientOptions = {}): Promise<[JsonRpcClient, WirePeer]> {
  const [near, far] = linkedSockets();
  const wire = new WirePeer(far);
  return [await connect(near, options), wire];
}
