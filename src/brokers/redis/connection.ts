/**
 * The clients through which a broker talks to Redis: one for commands, one for what is published.
 *
 * @module
 */

import { ClientOfflineError, createClient, createCluster, createSentinel, ErrorReply } from "redis";
import type { RedisClientOptions, RedisClusterOptions, RedisSentinelOptions } from "redis";
import type { Script } from "./scripts.ts";

/** Where Redis is, and how to get in. */
export interface RedisTarget {
  /**
   * Where one server is: `redis://user:password@host:6379/0`, `rediss:` with TLS.
   *
   * @default {"redis://127.0.0.1:6379"}
   */
  readonly url?: string;
  /** More for its client: what `createClient` of `redis` takes, such as `password` and `socket`. */
  readonly client?: RedisClientOptions;
  /** A cluster in place of one server: what `createCluster` of `redis` takes. */
  readonly cluster?: RedisClusterOptions;
  /** Servers behind sentinels in place of one: what `createSentinel` of `redis` takes. */
  readonly sentinel?: RedisSentinelOptions;
}

/** Takes what is published to a channel. */
export type ChannelListener = (message: string, channel: string) => void;

/** What a link tells. */
export interface RedisConnectionEvents {
  /** Something went wrong; the client goes on trying. */
  failed(error: unknown): void;
  /** It is connected, for the first time or again. */
  connected(): void;
}

/** What the clients of one server, of a cluster and of sentinels have in common. */
interface AnyClient {
  connect(): Promise<unknown>;
  destroy(): unknown;
  subscribe(channel: string, listener: ChannelListener): Promise<unknown>;
  unsubscribe(channel: string, listener: ChannelListener): Promise<unknown>;
  on(event: string, listener: (error: unknown) => void): unknown;
}

type Send = (key: string | undefined, command: string[]) => Promise<unknown>;

// Nothing waits inside the client: what waits, waits within the bounds of the broker.
const QUIET = { disableOfflineQueue: true, commandOptions: { timeout: 0 } } as const;
// How long a cluster's server is away until the others are asked who has taken over.
const REFRESH = { topologyRefreshOnReconnectionAttemptStrategy: 1_000 } as const;
// Behind sentinels a client would send again what a master may have done already, and change the order
// of what comes at once. It tries nothing again, and all of it goes through one connection.
const ONCE = { maxCommandRediscovers: 0, reserveClient: true } as const;
// A server that hangs is given up after the second.
const PING_MS = 5_000;
const SILENCE_MS = 15_000;

/** A way to Redis, whatever is behind it. */
export class RedisConnection {
  readonly #place: RedisTarget;
  readonly #events: RedisConnectionEvents;
  readonly #prefix: string;
  // Clients of several servers listen through a connection of its own, which they begin and end.
  readonly #listensApart: boolean;
  #client: AnyClient;
  #send: Send;
  #isKept = false;
  // Whether it writes to a server that is no master any more.
  #isDemoted = false;
  #opening: Promise<unknown> | undefined;

  /**
   * Connects nothing yet.
   *
   * @param place Where Redis is.
   * @param events Who is told.
   * @param prefix What the names of channels begin with.
   */
  constructor(place: RedisTarget, events: RedisConnectionEvents, prefix: string) {
    this.#place = place;
    this.#events = events;
    [this.#client, this.#send] = this.#make();
    this.#prefix = prefix;
    this.#listensApart = place.cluster !== undefined || place.sentinel !== undefined;
  }

  /** Opens it, unless it is open; resolves when the engine answers. */
  async open(): Promise<void> {
    this.#opening ??= this.#client.connect();
    try {
      await this.#opening;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  /** Runs a script. Its first key decides where in a cluster. */
  async run(
    { text, sha }: Script,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await this.#send(keys[0], ["EVALSHA", sha, ...rest]);
    } catch (error) {
      const why = String((error as Error).message);
      if (why.startsWith("READONLY")) this.#isDemoted = true;
      if (!why.startsWith("NOSCRIPT")) throw error;
      return this.#send(keys[0], ["EVAL", text, ...rest]);
    }
  }

  /** Resolves when the engine answers, and knows these scripts. */
  async prepare(scripts: readonly Script[]): Promise<void> {
    if (this.#isDemoted && this.#place.sentinel !== undefined) this.#renew();
    await this.open();
    for (const { text } of scripts) await this.#send(undefined, ["SCRIPT", "LOAD", text]);
  }

  /** Resolves when the engine answers, or at once where the link was never opened. */
  async probe(): Promise<void> {
    if (this.#opening === undefined) return;
    await this.open();
    await this.#send(undefined, ["PING"]);
    if (!this.#listensApart) return;
    // That connection may come back later, and unsaid.
    await this.#client.subscribe(`${this.#prefix}probe`, ignore);
    this.#events.connected();
    await this.#client.unsubscribe(`${this.#prefix}probe`, ignore);
  }

  /** Hears a channel. */
  async subscribe(channel: string, listener: ChannelListener): Promise<void> {
    if (this.#listensApart && !this.#isKept) {
      // It would end with the last channel, and with it what is subscribed to meanwhile.
      await this.#client.subscribe(`${this.#prefix}open`, ignore);
      this.#isKept = true;
    }
    await this.#client.subscribe(channel, listener);
  }

  /** Hears it no more. */
  async unsubscribe(channel: string, listener: ChannelListener): Promise<void> {
    await this.#client.unsubscribe(channel, listener);
  }

  /** Ends it. Does not throw. */
  close(): void {
    const client = this.#client;
    // Also where it is not connected, and then again when it would be.
    const destroy = async () => {
      await client.destroy();
    };
    this.#opening?.catch(() => {}).then(destroy).catch(() => {});
    destroy().catch(() => {});
  }

  #make(): [AnyClient, Send] {
    const [client, send] = newClient(this.#place);
    const { connected, failed } = this.#events;
    for (const name of ["error", "node-error"]) client.on(name, failed);
    for (const name of CONNECTED) client.on(name, () => connected());
    return [client, send];
  }

  /** Asks the sentinels anew who the master is: told to look once, a client that found none looks no more. */
  #renew(): void {
    this.close();
    this.#isDemoted = false;
    this.#opening = undefined;
    [this.#client, this.#send] = this.#make();
  }
}

function ignore(): void {}

// One server and sentinels say the first two, a cluster the others.
const CONNECTED = ["ready", "topology-change", "connect", "node-ready"];

function newClient({ url, client, cluster, sentinel }: RedisTarget): [AnyClient, Send] {
  if (cluster !== undefined) {
    const defaults = clientOptions(cluster.defaults);
    const made = createCluster({ ...REFRESH, ...cluster, defaults });
    return [made as AnyClient, (key, command) => made.sendCommand(key, false, command)];
  }
  if (sentinel !== undefined) {
    const nodeClientOptions = clientOptions(sentinel.nodeClientOptions);
    const made = createSentinel({ ...sentinel, nodeClientOptions, ...ONCE });
    return [made as unknown as AnyClient, (_key, command) => made.sendCommand(false, command)];
  }
  const made = createClient(clientOptions(url === undefined ? client : { ...client, url }));
  return [made as unknown as AnyClient, (_key, command) => made.sendCommand(command)];
}

/** The user's options with ours beneath. A copy: the client writes to what it gets. */
function clientOptions<T extends Partial<RedisClientOptions>>(options?: T): T & typeof QUIET {
  const socket = {
    socketTimeout: SILENCE_MS,
    reconnectStrategy: (retries: number) => Math.min(2 ** retries * 50, 1_000),
    ...options?.socket,
  };
  return { pingInterval: PING_MS, ...options, ...QUIET, socket } as unknown as T & typeof QUIET;
}

// What a server says that cannot serve now, and has done nothing.
const NOT_NOW = /^(?:LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY)\b/;

/** Whether something failed since the engine could not be reached, or cannot serve yet. */
export function isAway(error: unknown): boolean {
  return !(error instanceof ErrorReply) || NOT_NOW.test(error.message);
}

// What a client says that has found no master to send anything to.
const NO_MASTER = /^(?:no valid master node|None of the sentinels are available)$/;

/** Of what failed so: whether nothing was done for certain. */
export function isUndone(error: unknown): boolean {
  if (error instanceof ErrorReply || error instanceof ClientOfflineError) return true;
  const { code, message } = error as Error & { code?: unknown };
  return code === "ECONNREFUSED" || NO_MASTER.test(message);
}
