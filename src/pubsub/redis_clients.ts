/**
 * The clients through which a broker talks to Redis: one for commands, one for what is published.
 *
 * @module
 */

import { ClientOfflineError, createClient, createCluster, createSentinel, ErrorReply } from "redis";
import type { RedisClientOptions, RedisClusterOptions, RedisSentinelOptions } from "redis";
import type { Script } from "./redis_scripts.ts";

/** Where Redis is, and how to get in. */
export interface RedisPlace {
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

/** What is used of a client, whatever is behind it. */
export interface RedisLink {
  /** Opens it, unless it is open; resolves when the engine answers. */
  open(): Promise<void>;
  /** Runs a script. Its first key decides where in a cluster. */
  run(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  /** Resolves when the engine answers, and knows these scripts. */
  prepare(scripts: readonly Script[]): Promise<void>;
  /** Resolves when the engine answers, or at once where the link was never opened. */
  probe(): Promise<void>;
  subscribe(channel: string, listener: ChannelListener): Promise<void>;
  unsubscribe(channel: string, listener: ChannelListener): Promise<void>;
  close(): void;
}

/** What a link tells. */
export interface LinkEvents {
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

/**
 * Makes a link. Nothing is connected yet.
 *
 * @param prefix What the names of channels begin with.
 */
export function redisLink(place: RedisPlace, events: LinkEvents, prefix: string): RedisLink {
  const [client, send] = newClient(place);
  for (const name of ["error", "node-error"]) client.on(name, (error) => events.failed(error));
  for (const name of CONNECTED) client.on(name, () => events.connected());
  // Clients of several servers listen through a connection of its own, which they begin and end.
  const listensApart = place.cluster !== undefined || place.sentinel !== undefined;
  const ignore = () => {};
  let isKept = false;
  let opening: Promise<unknown> | undefined;
  async function open(): Promise<void> {
    opening ??= client.connect();
    try {
      await opening;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  }
  return {
    open,
    async run({ text, sha }, keys, args) {
      const rest = [String(keys.length), ...keys, ...args];
      try {
        return await send(keys[0], ["EVALSHA", sha, ...rest]);
      } catch (error) {
        if (!String((error as Error).message).startsWith("NOSCRIPT")) throw error;
        return send(keys[0], ["EVAL", text, ...rest]);
      }
    },
    async prepare(scripts) {
      await open();
      for (const { text } of scripts) await send(undefined, ["SCRIPT", "LOAD", text]);
    },
    async probe() {
      if (opening === undefined) return;
      await open();
      await send(undefined, ["PING"]);
      if (!listensApart) return;
      // That connection may come back later, and unsaid.
      await client.subscribe(`${prefix}probe`, ignore);
      events.connected();
      await client.unsubscribe(`${prefix}probe`, ignore);
    },
    async subscribe(channel, listener) {
      if (listensApart && !isKept) {
        // It would end with the last channel, and with it what is subscribed to meanwhile.
        await client.subscribe(`${prefix}open`, ignore);
        isKept = true;
      }
      await client.subscribe(channel, listener);
    },
    async unsubscribe(channel, listener) {
      await client.unsubscribe(channel, listener);
    },
    close() {
      // Also where it is not connected, and then again when it would be.
      const destroy = async () => {
        await client.destroy();
      };
      opening?.catch(() => {}).then(destroy).catch(() => {});
      destroy().catch(() => {});
    },
  };
}

// One server and sentinels say the first two, a cluster the others.
const CONNECTED = ["ready", "topology-change", "connect", "node-ready"];

function newClient({ url, client, cluster, sentinel }: RedisPlace): [AnyClient, Send] {
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
