/**
 * Presence: who is subscribed to a topic. Subscribers get a list of those who are here, and are notified
 * of who joins and leaves. Several connections of one user count once, and a short absence, such as a
 * page that reloads, is not told.
 *
 * It knows the connections of this process alone.
 *
 * @example Who is in a room
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { presence } from "@x/jsonrpc/presence";
 * import type { PresenceEvent } from "@x/jsonrpc/presence";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().topic("room.*").use(presence("room.*", { by: "connection" }));
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const client = await connect<typeof rpc>(near);
 * const here = new Promise<PresenceEvent>((resolve) => {
 *   client.method("presence", (event: PresenceEvent) => resolve(event));
 * });
 * await client.subscribe("room.7", () => {});
 * const { topic, members } = await here;
 * console.assert(topic === "room.7" && members?.length === 1);
 * console.assert((await client.call("presence", { topic: "room.7" })).length === 1);
 * await client.close();
 * ```
 *
 * @module
 */

import { toSubscriber } from "../core/connection.ts";
import type { Connection } from "../core/connection.ts";
import type { Plugin, UnsubscribeReason } from "../core/plugin.ts";
import type { RpcRequest } from "../core/request.ts";
import { RpcInvalidParamsError } from "../protocol/errors.ts";
import { checkMs } from "../util/check_option.ts";
import { MAX_TIMER_MS, OneShotTimer } from "../util/timer.ts";
import { matches } from "./pattern.ts";
import { PresenceRoom } from "./presence_room.ts";
import type { PresenceEntry, PresenceMember } from "./presence_room.ts";

export type { PresenceEvent, PresenceMember } from "./presence_room.ts";

/** Options of {@linkcode presence}. */
export interface PresenceOptions {
  /**
   * What counts as one member: a user, with all of its connections, or a connection. Connections without
   * a user do not count by user; they still see who is here.
   *
   * @default {"user"}
   */
  readonly by?: "user" | "connection";
  /**
   * Names the member that a connection belongs to; takes the place of `by`. Connections for which it
   * returns `undefined` do not count. All subscribers see the key.
   *
   * @default {the `id`, `sub` or `name` of the user}
   */
  readonly key?: (connection: Connection) => string | undefined;
  /**
   * Makes what all subscribers see of a member beside its key, from its first connection.
   *
   * @default {nothing}
   */
  readonly info?: (connection: Connection) => unknown;
  /**
   * Milliseconds for which a member whose last connection has closed still counts, so that a reconnect
   * is not told. A member that unsubscribes leaves at once.
   *
   * @default {5000, or 0 by connection}
   */
  readonly graceMs?: number;
  /** The name of the notification, and of the method that lists the members. @default {"presence"} */
  readonly name?: string;
}

/** The methods that {@linkcode presence} adds, under their default name. */
export interface PresenceMethods {
  /** Lists the members of a topic that the caller is subscribed to. */
  presence(params: { readonly topic: string }): readonly PresenceMember[];
}

/** What {@linkcode presence} returns: a plugin that can also be asked. */
export interface Presence extends Plugin<unknown, PresenceMethods> {
  /**
   * Lists the members of a topic.
   *
   * @param topic The concrete topic.
   * @returns The members, in the order in which they joined.
   */
  members(topic: string): PresenceMember[];
}

/**
 * Makes a plugin that tells the subscribers of topics about each other.
 *
 * A new subscriber gets a notification with `members`, all that are here. From then on it gets
 * notifications with those who have `joined` or `left`. A long list comes in several notifications:
 * `members` first, then `joined`.
 *
 * @param topics The topic, or several, by name or pattern. Declare them with `rpc.topic`.
 * @param options What counts as a member, and how long an absence is not told.
 * @returns The plugin, for `rpc.use(…)`.
 * @throws {RangeError} If `graceMs` is out of range.
 */
export function presence(
  topics: string | readonly string[],
  options: PresenceOptions = {},
): Presence {
  const tracker = new PresenceTracker([topics].flat(), options);
  const { name } = tracker;
  return {
    name,
    methods: {
      [name]: {
        names: ["topic"],
        document: {
          summary: "Lists who is subscribed to a topic of yours",
          params: [{ name: "topic", required: true, schema: { type: "string" } }],
          result: {
            type: "array",
            items: {
              type: "object",
              required: ["key"],
              properties: { key: { type: "string" }, info: {} },
            },
          },
        },
        socketOnly: true,
        handler: ({ topic }: { topic?: unknown }, { connection }: RpcRequest) =>
          tracker.answer(topic, connection),
      },
    },
    onSubscribe: (connection, topic) => tracker.join(connection, topic),
    onUnsubscribe: (connection, topic, reason) => tracker.leave(connection, topic, reason),
    onUserChange: (connection) => tracker.update(connection),
    dispose: () => tracker.clear(),
    members: (topic) => tracker.members(topic),
  };
}

/** A member without connections, until its absence is told. */
interface Absence {
  readonly room: PresenceRoom;
  readonly until: number;
}

/** The rooms of one plugin: a room is a topic with subscribers, or with members that are absent. */
class PresenceTracker {
  readonly name: string;
  readonly #patterns: readonly (readonly string[])[];
  readonly #options: PresenceOptions;
  readonly #graceMs: number;
  readonly #rooms = new Map<string, PresenceRoom>();
  // Rooms in which something has changed since the last notification.
  readonly #changed = new Set<PresenceRoom>();
  readonly #flushTimer = new OneShotTimer();
  // All wait equally long, so the first is due first.
  readonly #absent = new Map<PresenceEntry, Absence>();
  readonly #absenceTimer = new OneShotTimer();
  #warned = false;

  constructor(topics: readonly string[], options: PresenceOptions) {
    const { by = "user", key, name = "presence" } = options;
    const { graceMs = by === "connection" && key === undefined ? 0 : 5000 } = options;
    this.name = name;
    this.#options = options;
    this.#patterns = topics.map((topic) => topic.split("."));
    this.#graceMs = checkMs("graceMs", graceMs, 0, MAX_TIMER_MS);
  }

  members(topic: string): PresenceMember[] {
    return this.#rooms.get(topic)?.members() ?? [];
  }

  answer(topic: unknown, connection: Connection): PresenceMember[] {
    const room = this.#rooms.get(topic as string);
    if (room !== undefined && connection.subscriptions.has(room.topic)) return room.members();
    throw new RpcInvalidParamsError({ data: "Expected a topic that you are subscribed to" });
  }

  join(connection: Connection, topic: string): void {
    const segments = topic.split(".");
    if (!this.#patterns.some((pattern) => matches(segments, pattern))) return;
    let room = this.#rooms.get(topic);
    if (room === undefined) this.#rooms.set(topic, room = new PresenceRoom(topic, this.name));
    const entry = room.join(toSubscriber(connection), this.#keyOf(connection), this.#options.info);
    if (entry !== undefined) this.#absent.delete(entry);
    this.#change(room);
  }

  leave(connection: Connection, topic: string, reason: UnsubscribeReason): void {
    const room = this.#rooms.get(topic);
    const left = room?.leave(toSubscriber(connection));
    if (room === undefined) return;
    // Only an end that the client did not ask for may be the start of a reconnect.
    const mayReturn = reason === "close" || reason === "error";
    if (left !== undefined) this.#end(room, left, mayReturn);
    this.#change(room);
  }

  /** The user of a connection has changed: it belongs to another member, or to none. */
  update(connection: Connection): void {
    const key = this.#keyOf(connection);
    for (const topic of connection.subscriptions) {
      const room = this.#rooms.get(topic);
      if (room === undefined || room.keyOf(toSubscriber(connection)) === key) continue;
      const left = room.leave(toSubscriber(connection));
      if (left !== undefined) this.#end(room, left, false);
      const entry = room.join(toSubscriber(connection), key, this.#options.info, false);
      if (entry !== undefined) this.#absent.delete(entry);
      this.#change(room);
    }
  }

  clear(): void {
    this.#flushTimer.clear();
    this.#absenceTimer.clear();
    this.#rooms.clear();
    this.#absent.clear();
    this.#changed.clear();
  }

  #keyOf(connection: Connection): string | undefined {
    const { by = "user", key } = this.#options;
    if (key !== undefined) return key(connection);
    if (by === "connection") return connection.id;
    const { user } = connection;
    if (user === null || user === undefined) return undefined;
    const name = nameOf(user);
    if (name === undefined && !this.#warned) {
      this.#warned = true;
      connection.logger.warn(
        `${this.name} does not count a user without \`id\`, \`sub\` or \`name\`: use its option \`key\``,
      );
    }
    return name;
  }

  /** A member has no connection left. */
  #end(room: PresenceRoom, entry: PresenceEntry, mayReturn: boolean): void {
    if (!mayReturn || this.#graceMs === 0) return room.remove(entry);
    this.#absent.set(entry, { room, until: performance.now() + this.#graceMs });
    if (this.#absent.size === 1) this.#watchAbsence(this.#graceMs);
  }

  /** Waits; members who came back while this process was blocked are heard first. */
  #watchAbsence(delayMs: number): void {
    this.#absenceTimer.setDeadline(delayMs, () => this.#sweep());
  }

  /** Removes members that were absent for too long. */
  #sweep(): void {
    const now = performance.now();
    for (const [entry, { room, until }] of this.#absent) {
      if (until > now) return this.#watchAbsence(until - now);
      this.#absent.delete(entry);
      room.remove(entry);
      this.#change(room);
    }
  }

  /** Notifies later, so that many changes at once cost one notification. */
  #change(room: PresenceRoom): void {
    if (this.#changed.size === 0) this.#flushTimer.set(FLUSH_MS, () => this.#flush());
    this.#changed.add(room);
  }

  #flush(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const room of changed) {
      room.flush();
      if (room.isEmpty && this.#rooms.get(room.topic) === room) this.#rooms.delete(room.topic);
    }
  }
}

/** What a user is called: by what is unique first. */
function nameOf(user: unknown): string | undefined {
  const { id, sub, name } = Object(user) as Record<string, unknown>;
  const names = [user, id, sub, name];
  const found = names.find((each) => typeof each === "string" || typeof each === "number");
  return found === undefined ? undefined : String(found);
}

const FLUSH_MS = 20;
