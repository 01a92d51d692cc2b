/**
 * The members of one topic, and the notifications about them.
 *
 * @module
 */

import { SharedText } from "../core/channel.ts";
import type { Connection, SubscriberConnection } from "../core/connection.ts";
import { SEND } from "../core/internal.ts";
import { requestText } from "../protocol/message.ts";

/** A member of a topic. */
export interface PresenceMember {
  /** The name of the member. */
  readonly key: string;
  /** What the option `info` has made, if it is given. */
  readonly info?: unknown;
}

/** What a subscriber is notified of. */
export interface PresenceEvent {
  /** The topic. */
  readonly topic: string;
  /** All members: the subscription is new. */
  readonly members?: readonly PresenceMember[];
  /** Members that have joined. */
  readonly joined?: readonly PresenceMember[];
  /** Members that have left. */
  readonly left?: readonly PresenceMember[];
}

/** A member with its connections. */
export interface PresenceEntry {
  /** What subscribers see of it. */
  readonly member: PresenceMember;
  /** Its connections that are subscribed to the topic. It is absent if there are none. */
  readonly connections: Set<SubscriberConnection>;
}

/** One topic with its subscribers and members. */
export class PresenceRoom {
  /** The topic. */
  readonly topic: string;
  readonly #notification: string;
  readonly #entries = new Map<string, PresenceEntry>();
  // All subscribers, those too that are no members.
  readonly #connections = new Map<SubscriberConnection, PresenceEntry | undefined>();
  // What has changed since the last flush.
  readonly #fresh = new Set<SubscriberConnection>();
  readonly #joined = new Map<string, PresenceMember>();
  readonly #left = new Map<string, PresenceMember>();

  /**
   * @param topic The topic.
   * @param notification The name of the notification.
   */
  constructor(topic: string, notification: string) {
    this.topic = topic;
    this.#notification = notification;
  }

  /** Whether it has neither subscribers nor members. */
  get isEmpty(): boolean {
    return this.#connections.size === 0 && this.#entries.size === 0;
  }

  /** Lists the members, in the order in which they joined. */
  members(): PresenceMember[] {
    return [...this.#entries.values()].map(({ member }) => member);
  }

  /** Returns the key of the member that a connection belongs to. */
  keyOf(connection: SubscriberConnection): string | undefined {
    return this.#connections.get(connection)?.member.key;
  }

  /**
   * Adds a connection.
   *
   * @param connection The connection.
   * @param key The member that it belongs to; `undefined` if it belongs to none.
   * @param info Makes what subscribers see of a new member.
   * @param isFresh Whether the subscription is new, so that it gets the list of members.
   * @returns The member.
   */
  join(
    connection: SubscriberConnection,
    key: string | undefined,
    info?: (connection: Connection) => unknown,
    isFresh = true,
  ): PresenceEntry | undefined {
    if (isFresh) this.#fresh.add(connection);
    const entry = key === undefined ? undefined : this.#entryOf(key, connection, info);
    entry?.connections.add(connection);
    this.#connections.set(connection, entry);
    return entry;
  }

  /**
   * Removes a connection.
   *
   * @returns Its member, if that has no connection left.
   */
  leave(connection: SubscriberConnection): PresenceEntry | undefined {
    const entry = this.#connections.get(connection);
    this.#connections.delete(connection);
    return entry?.connections.delete(connection) && entry.connections.size === 0
      ? entry
      : undefined;
  }

  /** Removes a member. */
  remove({ member }: PresenceEntry): void {
    const { key } = member;
    this.#entries.delete(key);
    // If the subscribers do not know of it yet, there is nothing to tell.
    if (!this.#joined.delete(key)) this.#left.set(key, member);
  }

  /** Notifies the subscribers of what has changed since the last time. Does not throw. */
  flush(): void {
    const news = this.#texts([
      ...this.#chunks("left", [...this.#left.values()]),
      ...this.#chunks("joined", [...this.#joined.values()]),
    ]);
    const all = this.#fresh.size === 0 ? [] : this.#texts(this.#list());
    const fresh = new Set(this.#fresh);
    this.#fresh.clear();
    this.#joined.clear();
    this.#left.clear();
    for (const connection of [...this.#connections.keys()]) {
      for (const text of fresh.has(connection) ? all : news) connection[SEND](text);
    }
  }

  #entryOf(
    key: string,
    connection: SubscriberConnection,
    info?: (connection: Connection) => unknown,
  ): PresenceEntry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    // If it has left and come back since the last flush, there is nothing to tell.
    const before = this.#left.get(key);
    const member = before ?? toMember(key, info?.(connection));
    const entry = { member, connections: new Set<SubscriberConnection>() };
    this.#entries.set(key, entry);
    if (before === undefined) this.#joined.set(key, member);
    else this.#left.delete(key);
    return entry;
  }

  /** The list of all members. What does not fit into one notification is sent as members that join. */
  #list(): PresenceEvent[] {
    const members = this.members();
    return [
      { topic: this.topic, members: members.slice(0, CHUNK) },
      ...this.#chunks("joined", members.slice(CHUNK)),
    ];
  }

  #chunks(kind: "joined" | "left", members: readonly PresenceMember[]): PresenceEvent[] {
    const events: PresenceEvent[] = [];
    for (let at = 0; at < members.length; at += CHUNK) {
      events.push({ topic: this.topic, [kind]: members.slice(at, at + CHUNK) });
    }
    return events;
  }

  /** Encodes each event once for all subscribers. */
  #texts(events: readonly PresenceEvent[]): SharedText[] {
    return events.map((event) => new SharedText(requestText(undefined, this.#notification, event)));
  }
}

/** Copies the info, so that encoding it later can neither fail nor show what the program changed. */
function toMember(key: string, info: unknown): PresenceMember {
  const text: string | undefined = JSON.stringify(info);
  return text === undefined ? { key } : { key, info: JSON.parse(text) };
}

// How many members one notification names, so that it stays well below maxMessageBytes.
const CHUNK = 500;
