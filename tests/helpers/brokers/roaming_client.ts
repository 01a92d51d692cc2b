/**
 * A client without a line of ours that subscribes with `recover`, and moves from server to server.
 */
import { until } from "../deferred.ts";

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { topic: string; position: string; data?: unknown; gap?: true };
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
}

/** The answer of `subscribe` to a client that recovers. */
interface Recovery {
  readonly subscriptions: readonly string[];
  readonly positions: Readonly<Record<string, string>>;
  readonly recovered: Readonly<Record<string, boolean>>;
}

/** One client. */
export class RoamingClient {
  /** The received events, by topic. */
  readonly received = new Map<string, unknown[]>();
  /** Topics for which the server reported a gap. */
  readonly gaps: string[] = [];
  readonly #topics: readonly string[];
  readonly #onEvent: (topic: string, data: unknown, position: string) => void;
  readonly #onGap: (topic: string) => void;
  readonly #positions = new Map<string, string>();
  readonly #answers = new Map<number, (message: Message) => void>();
  #socket: WebSocket | undefined;
  #calls = 0;

  /**
   * @param topics The topics to subscribe to.
   * @param onEvent Receives each event in place of `received`.
   * @param onGap Is told of each gap in place of `gaps`.
   */
  constructor(
    topics: readonly string[],
    onEvent?: (topic: string, data: unknown, position: string) => void,
    onGap?: (topic: string) => void,
  ) {
    this.#topics = topics;
    this.#onEvent = onEvent ?? ((topic, data) => this.received.get(topic)?.push(data));
    this.#onGap = onGap ?? ((topic) => this.gaps.push(topic));
    for (const topic of topics) this.received.set(topic, []);
  }

  /** The number of received events. */
  get count(): number {
    let count = 0;
    for (const { length } of this.received.values()) count += length;
    return count;
  }

  /** Whether it has a connection. */
  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Connects to a server and recovers its topics. Tries again while the server's broker is unavailable. */
  async move(url: string): Promise<void> {
    this.leave();
    const socket = new WebSocket(url.replace("http", "ws"));
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      // Ignore the messages of a connection that was left.
      if (socket === this.#socket) this.#take(JSON.parse(data));
    });
    socket.addEventListener("close", () => {
      for (const [id, answer] of this.#answers) answer({ id, error: { code: 0, message: "gone" } });
    });
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("close", () => reject(new Error(`Cannot reach ${url}`)));
      socket.addEventListener("error", () => {});
    });
    await until(() => this.#subscribe());
  }

  /** Disconnects. */
  leave(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  /** Calls a method. */
  call(method: string, params: unknown): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++this.#calls;
    this.#answers.set(id, ({ error, result }) => {
      this.#answers.delete(id);
      if (error) reject(new Error(`${method}: ${error.code} ${error.message}`));
      else resolve(result);
    });
    this.#socket?.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    return promise;
  }

  async #subscribe(): Promise<boolean> {
    const since = Object.fromEntries(this.#positions);
    const params = { topics: this.#topics, recover: true, since };
    let answer: Recovery;
    try {
      answer = await this.call("subscribe", params) as Recovery;
    } catch (error) {
      // The broker is unavailable.
      if (String(error).includes("-32009")) return false;
      throw error;
    }
    return answer.subscriptions.length === this.#topics.length;
  }

  #take({ id, method, params, result, ...rest }: Message): void {
    if (id !== undefined) {
      // Positions first: events may follow at once.
      this.#settle(result as Partial<Recovery> | undefined);
      this.#answers.get(id)?.({ id, result, ...rest });
    }
    if (method !== "rpc.message" || params === undefined) return;
    this.#positions.set(params.topic, params.position);
    if (params.gap) this.#onGap(params.topic);
    else this.#onEvent(params.topic, params.data, params.position);
  }

  #settle({ positions, recovered }: Partial<Recovery> = {}): void {
    for (const [topic, position] of Object.entries(positions ?? {})) {
      this.#positions.set(topic, position);
      if (!recovered?.[topic]) this.#onGap(topic);
    }
  }
}
