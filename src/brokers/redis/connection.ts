/**
 * The connections through which a broker talks to Redis: for commands, and for what is published.
 *
 * @module
 */

import { ClientOfflineError, createClient, createCluster, createSentinel, ErrorReply } from "redis";
import type { RedisClientOptions, RedisClusterOptions, RedisSentinelOptions } from "redis";
import { FORGET, PUBLISH, READ } from "./scripts.ts";
import type { Script } from "./scripts.ts";
import { UnconfirmedError } from "./replica_wait.ts";

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

/** What a connection reports. */
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

// Nothing waits inside the client: what waits does so within the bounds of the broker.
const QUIET = { disableOfflineQueue: true, commandOptions: { timeout: 0 } } as const;
// How long a cluster's server may be away before the client asks the others which has taken over.
const REFRESH = { topologyRefreshOnReconnectionAttemptStrategy: 1_000 } as const;
// Left alone, a client behind sentinels would send commands again that a master may have executed, and
// change their order. So it tries nothing again, and sends everything over one connection.
const ONCE = { maxCommandRediscovers: 0, reserveClient: true } as const;
// The client gives up a server that hangs after the second of these.
const PING_MS = 5_000;
const SILENCE_MS = 15_000;
// The same for sentinels.
const SENTINEL_PING_MS = 1_000;
const SENTINEL_SILENCE_MS = 5_000;

/** A connection to Redis: to one server, a cluster, or the master behind sentinels. */
export class RedisConnection {
  readonly #target: RedisTarget;
  readonly #events: RedisConnectionEvents;
  readonly #prefix: string;
  // Clients of several servers listen through a connection of its own, which they begin and end.
  readonly #listensApart: boolean;
  #client: AnyClient;
  #send: Send;
  #isKept = false;
  // Whether it writes to a server that is no longer a master.
  #isDemoted = false;
  #opening: Promise<unknown> | undefined;
  #prepared: Promise<void> | undefined;
  #isPrepared = false;
  #generation = 0;
  #ending = new AbortController();

  /**
   * Makes it; it connects when it is first used.
   *
   * @param target Where Redis is.
   * @param events Who is told of what happens.
   * @param prefix What the names of channels begin with.
   */
  constructor(target: RedisTarget, events: RedisConnectionEvents, prefix: string) {
    this.#target = target;
    this.#events = events;
    [this.#client, this.#send] = this.#make();
    this.#prefix = prefix;
    this.#listensApart = target.cluster !== undefined || target.sentinel !== undefined;
  }

  /** Changes whenever another connection may have taken the place of the one before. */
  get generation(): number {
    return this.#generation;
  }

  /** Connects, unless it is connected; resolves when Redis answers. */
  async open(): Promise<void> {
    this.#opening ??= this.#client.connect();
    try {
      await this.#opening;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  /** Whether it has connected and loaded the scripts once. */
  get isPrepared(): boolean {
    return this.#isPrepared;
  }

  /** Connects and loads the scripts, once. */
  async prepare(): Promise<void> {
    const prepared = this.#prepared ??= this.#load();
    try {
      await prepared;
      // Another client may have taken the place of this one meanwhile.
      if (this.#prepared === prepared) this.#isPrepared = true;
    } catch (error) {
      if (this.#prepared === prepared) this.#prepared = undefined;
      throw error;
    }
  }

  /**
   * Runs a script.
   *
   * @param script Which one.
   * @param keys Its keys. The first decides which server of a cluster runs it.
   * @param args Its arguments.
   * @param sent Called each time that it has been sent: a second time if Redis did not know it.
   * @returns What it returns.
   */
  async run(
    { text, sha }: Script,
    keys: readonly string[],
    args: readonly string[],
    sent?: () => void,
  ): Promise<unknown> {
    const reply = this.#send(keys[0], ["EVALSHA", sha, `${keys.length}`, ...keys, ...args]);
    sent?.();
    try {
      return await reply;
    } catch (error) {
      const why = String((error as Error).message);
      if (why.startsWith("READONLY")) this.#isDemoted = true;
      if (!why.startsWith("NOSCRIPT")) throw error;
    }
    const again = this.#send(keys[0], ["EVAL", text, `${keys.length}`, ...keys, ...args]);
    sent?.();
    return again;
  }

  /** Sends a command to the server that has a key. */
  send(key: string, command: readonly string[]): Promise<unknown> {
    return this.#send(key, [...command]);
  }

  /** Resolves when Redis answers, and knows the scripts. */
  async revive(): Promise<void> {
    if (this.#isDemoted && this.#target.sentinel !== undefined) this.#renew();
    await this.#load();
  }

  /** Resolves when Redis answers, or at once if the connection was never open. */
  async probe(): Promise<void> {
    if (this.#opening === undefined) return;
    await this.open();
    await this.#send(undefined, ["PING"]);
    if (!this.#listensApart) return;
    // The connection that listens may come back later, and does not say so.
    await this.#client.subscribe(`${this.#prefix}probe`, ignore);
    this.#events.connected();
    await this.#client.unsubscribe(`${this.#prefix}probe`, ignore);
  }

  /** Listens to a channel. */
  async subscribe(channel: string, listener: ChannelListener): Promise<void> {
    if (this.#listensApart && !this.#isKept) {
      // Without this channel the client would end its connection with the last other channel, and
      // lose with it what is subscribed to meanwhile.
      await this.#client.subscribe(`${this.#prefix}open`, ignore);
      this.#isKept = true;
    }
    await this.#client.subscribe(channel, listener);
  }

  /** Stops listening to a channel. */
  async unsubscribe(channel: string, listener: ChannelListener): Promise<void> {
    await this.#client.unsubscribe(channel, listener);
  }

  /** Ends it. Does not throw. */
  close(): void {
    const client = this.#client;
    const destroy = async () => {
      await client.destroy();
    };
    // A client that is still connecting has to be ended now, and again once it is connected.
    this.#opening?.catch(() => {}).then(destroy).catch(() => {});
    destroy().catch(() => {});
    // A client does not end a socket whose TLS handshake is not over, nor a cluster's the connection
    // through which it asks for the cluster's servers.
    this.#ending.abort();
  }

  async #load(): Promise<void> {
    await this.open();
    for (const { text } of [PUBLISH, READ, FORGET]) {
      await this.#send(undefined, ["SCRIPT", "LOAD", text]);
    }
  }

  #make(): [AnyClient, Send] {
    const { signal } = this.#ending;
    const [client, send] = newClient(this.#target, signal);
    const { connected, failed } = this.#events;
    for (const name of ["error", "node-error", "client-error"]) {
      client.on(name, (error) => {
        this.#generation++;
        if (name !== "client-error" && !signal.aborted) failed(error);
      });
    }
    for (const name of CONNECTED) {
      client.on(name, () => {
        this.#generation++;
        connected();
      });
    }
    return [client, send];
  }

  /** Makes another client, which asks the sentinels for the master: a client asks only when it connects. */
  #renew(): void {
    this.close();
    this.#ending = new AbortController();
    this.#isDemoted = this.#isPrepared = false;
    this.#opening = this.#prepared = undefined;
    this.#generation++;
    [this.#client, this.#send] = this.#make();
  }
}

function ignore(): void {}

// A single server and sentinels emit the first two, a cluster the others.
const CONNECTED = ["ready", "topology-change", "connect", "node-ready"];

function newClient(
  { url, client, cluster, sentinel }: RedisTarget,
  signal: AbortSignal,
): [AnyClient, Send] {
  if (cluster !== undefined) {
    const defaults = clientOptions(signal, cluster.defaults);
    const made = createCluster({ ...REFRESH, ...cluster, defaults });
    return [made as AnyClient, (key, command) => made.sendCommand(key, false, command)];
  }
  if (sentinel !== undefined) {
    const nodeClientOptions = clientOptions(signal, sentinel.nodeClientOptions);
    const { socket, ...more } = sentinel.sentinelClientOptions ?? {};
    const sentinelClientOptions = {
      ...{ pingInterval: SENTINEL_PING_MS, ...more },
      socket: { socketTimeout: SENTINEL_SILENCE_MS, ...socket, signal },
    } as NonNullable<RedisSentinelOptions["sentinelClientOptions"]>;
    const made = createSentinel({ ...sentinel, nodeClientOptions, sentinelClientOptions, ...ONCE });
    return [made as unknown as AnyClient, (_key, command) => made.sendCommand(false, command)];
  }
  const made = createClient(clientOptions(signal, url === undefined ? client : { ...client, url }));
  return [made as unknown as AnyClient, (_key, command) => made.sendCommand(command)];
}

function pauseMs(retries: number): number {
  return Math.min(2 ** retries * 50, 1_000);
}

/**
 * The user's options over ours. A copy, because the client changes what it gets. A signal ends each
 * socket, also one that still connects: the client passes the options of its sockets on to `node:net`.
 */
function clientOptions<T extends Partial<RedisClientOptions>>(
  signal: AbortSignal,
  options?: T,
): T & typeof QUIET {
  const socket = {
    socketTimeout: SILENCE_MS,
    reconnectStrategy: (retries: number) => !signal.aborted && pauseMs(retries),
    ...options?.socket,
    signal,
  };
  return { pingInterval: PING_MS, ...options, ...QUIET, socket } as unknown as T & typeof QUIET;
}

// What a server says if it cannot serve now, and has done nothing.
const NOT_NOW = /^(?:LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY)\b/;

/** Whether something failed because Redis is out of reach, or cannot serve yet. */
export function isAway(error: unknown): boolean {
  if (error instanceof UnconfirmedError) return false;
  return !(error instanceof ErrorReply) || NOT_NOW.test(error.message);
}

/** Whether Redis has answered, and cannot serve yet: a replica that was a master, a master without replicas. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ErrorReply;
}

// What a client says if it has found no master to send anything to.
const NO_MASTER = /^(?:no valid master node|None of the sentinels are available)$/;

/** Of a failure of that kind: whether it is certain that Redis did nothing. */
export function isUndone(error: unknown): boolean {
  if (error instanceof ErrorReply || error instanceof ClientOfflineError) return true;
  const { code, message } = error as Error & { code?: unknown };
  return code === "ECONNREFUSED" || NO_MASTER.test(message);
}
