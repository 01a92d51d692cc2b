/**
 * One topic that the shared connection is subscribed to, and which of its events go to which tab.
 *
 * @module
 */

import { SEND } from "../core/internal.ts";
import type { Tab } from "./tab.ts";

/** The params of `rpc.message`. */
export interface TopicMessage {
  readonly topic?: unknown;
  readonly position?: unknown;
  readonly data?: unknown;
  readonly gap?: unknown;
  readonly retained?: unknown;
}

/** How a tab joins a topic. */
export interface JoinOptions {
  /** Whether its events carry positions. */
  readonly recover: boolean;
  /** The position after which it goes on, if it has one. */
  readonly since: unknown;
  /** The position that the server has answered. */
  readonly position: unknown;
  /** Whether the server sends everything after `since`. */
  readonly recovered: boolean;
}

/** One topic of the shared connection. */
export class SharedTopic {
  /** The topic's name. */
  readonly name: string;
  /** The position of the last event that all tabs have; `undefined` before the server has answered. */
  position: unknown;
  // Whether the server has sent what it kept for an earlier tab.
  #isSubscribed = false;
  // Whether the events of each tab carry positions.
  readonly #tabs = new Map<Tab, boolean>();
  // The tab that has joined last and gets kept events.
  #joining: Tab | typeof LEFT | undefined;
  // A tab that goes on where it was, and is behind all others: events up to a position are for it alone.
  #behind: { readonly tab: Tab; readonly until: unknown } | undefined;
  #caughtUp = Promise.withResolvers<void>();

  /** @param name The topic's name. */
  constructor(name: string) {
    this.name = name;
  }

  /** Whether no tab is subscribed to it. */
  get isEmpty(): boolean {
    return this.#tabs.size === 0;
  }

  /** Resolves when no tab is behind the others; `undefined` if none is. */
  get catchingUp(): Promise<void> | undefined {
    return this.#behind && this.#caughtUp.promise;
  }

  /** The tabs that are subscribed to it. */
  get tabs(): Iterable<Tab> {
    return this.#tabs.keys();
  }

  /** Adds a tab, or changes how it is subscribed. Called when the server has answered. */
  join(tab: Tab, { recover, since, position, recovered }: JoinOptions): void {
    const others = this.position;
    if (others === undefined) this.position = position;
    else if (!recovered && position !== others) {
      // The server has gone on behind what the others have.
      this.position = position;
      for (const [each, recovers] of this.#tabs) {
        if (each !== tab && recovers) this.#send(each, { position, gap: true });
      }
    }
    this.#tabs.set(tab, recover);
    // The server has sent what it kept for those before it: what comes now is for this tab.
    this.#joining = undefined;
    // Kept events for the first tab are new to all: another tab may join before they are here.
    if (since === undefined || !recovered) this.#joining = this.#isSubscribed ? tab : undefined;
    else if (others !== undefined && since !== others) this.#behind = { tab, until: others };
    this.#isSubscribed = true;
  }

  /** Adds a tab that has everything up to where the topic stands. */
  joinHere(tab: Tab): void {
    this.#tabs.set(tab, true);
  }

  /** Removes a tab. */
  leave(tab: Tab): void {
    this.#tabs.delete(tab);
    if (this.#joining === tab) this.#joining = LEFT;
  }

  /** Notes that the topic has ended. */
  end(): void {
    this.#catchUp();
  }

  /** Handles an event, or the news of a gap. */
  message(message: TopicMessage): void {
    const { position, gap, retained } = message;
    if (retained === true && this.#joining !== undefined) {
      return this.#replay(message, this.#joining);
    }
    const { tab, until } = this.#behind ?? {};
    this.#joining = undefined;
    if (tab !== undefined && gap !== true) {
      if (this.#tabs.has(tab)) this.#send(tab, message);
      if (position === until) this.#catchUp();
      return;
    }
    this.#catchUp();
    this.position = position;
    this.#deliver(message, this.#tabs.keys());
  }

  /** Sends a kept event to the tab that has joined. */
  #replay(message: TopicMessage, tab: Tab | typeof LEFT): void {
    // What is new to all tabs moves the topic on.
    if (this.#tabs.size === 1) this.position = message.position;
    if (tab !== LEFT) this.#deliver(message, [tab]);
  }

  #catchUp(): void {
    if (this.#behind === undefined) return;
    this.#behind = undefined;
    this.#caughtUp.resolve();
    this.#caughtUp = Promise.withResolvers();
  }

  /** Encodes the event once for all tabs with positions, and once for all without. */
  #deliver(message: TopicMessage, tabs: Iterable<Tab>): void {
    const texts = new Map<boolean, string | undefined>();
    for (const tab of [...tabs]) {
      const recovers = this.#tabs.get(tab) === true;
      if (!texts.has(recovers)) texts.set(recovers, this.#text(message, recovers));
      const text = texts.get(recovers);
      if (text !== undefined) tab[SEND](text);
    }
  }

  #send(tab: Tab, message: TopicMessage): void {
    this.#deliver({ topic: this.name, ...message }, [tab]);
  }

  #text(message: TopicMessage, recovers: boolean): string | undefined {
    if (recovers) return encode("rpc.message", message);
    // Those without positions were promised nothing.
    return message.gap === true ? undefined : encode(this.name, message.data);
  }
}

// In place of a tab that has left before it had all kept events.
const LEFT = Symbol();

function encode(method: string, params: unknown): string {
  const start = `{"jsonrpc":"2.0","method":${JSON.stringify(method)}`;
  return params === undefined ? `${start}}` : `${start},"params":${JSON.stringify(params)}}`;
}
