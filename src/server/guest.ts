/**
 * A conversation with somebody who came to a server: it calls the server's methods, and may hear
 * topics.
 *
 * @module
 */

import type { Channel } from "../core/channel.ts";
import { Conversation } from "../core/session.ts";
import type { ConversationHost } from "../core/session.ts";
import { Dispatcher } from "./server_dispatcher.ts";
import type { Message } from "../protocol/message.ts";
import type { Connection, Handshake } from "../core/request.ts";
import type { Replies } from "../core/dispatcher.ts";

let writableSubscriptions: (guest: Guest) => Set<string>;
let lostTopics: (guest: Guest) => void;
let addDropped: (guest: Guest, count: number) => void;

/** Whoever came to a server over a connection that stays. */
export class Guest extends Conversation implements Replies {
  protected override readonly responder: Dispatcher;
  // Made on first use: most connections of a busy server hear no topics.
  #subscriptions: Set<string> | undefined;
  #dropped = 0;

  /**
   * @param channel The way out.
   * @param host The server.
   * @param handshake How the guest came in.
   */
  constructor(channel: Channel, host: ConversationHost, handshake: Handshake) {
    super(host, handshake);
    this.responder = new Dispatcher(host, this, this);
    this.begin(channel);
  }

  override get subscriptions(): ReadonlySet<string> {
    return this.#subscriptions ?? super.subscriptions;
  }

  override get dropped(): number {
    return this.#dropped;
  }

  /** Whether a call waits for its answer, here or at the guest's end. */
  get isBusy(): boolean {
    return this.responder.inFlight > 0 || (this.pending?.size ?? 0) > 0;
  }

  awaits(id: unknown): boolean {
    return this.pending?.awaits(id) === true;
  }

  settle(message: Message): void {
    this.pending?.settle(message);
  }

  progress(params: unknown): void {
    this.pending?.progress(params);
  }

  /** Called when the last topic of the guest has ended, whoever ended it. */
  protected lostTopics(): void {}

  static {
    writableSubscriptions = (guest) => guest.#subscriptions ??= new Set();
    lostTopics = (guest) => guest.lostTopics();
    addDropped = (guest, count) => guest.#dropped += count;
  }
}

// Topics are for guests alone: over HTTP, where a connection is one exchange, nobody can subscribe.

/** The set behind {@linkcode Connection.subscriptions}, for the room that keeps it. */
export function subscriptionsOf(connection: Connection): Set<string> {
  return writableSubscriptions(connection as Guest);
}

/** Takes a topic from {@linkcode Connection.subscriptions}. */
export function endSubscription(connection: Connection, topic: string): void {
  const guest = connection as Guest;
  const subscriptions = writableSubscriptions(guest);
  if (subscriptions.delete(topic) && subscriptions.size === 0) lostTopics(guest);
}

/** Adds to {@linkcode Connection.dropped}. */
export function countDropped(connection: Connection, count: number): void {
  addDropped(connection as Guest, count);
}
