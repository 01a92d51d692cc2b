/**
 * One topic of a client: its handlers, and which event goes to which of them.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { logFailure } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { runSafely } from "../util/maybe_promise.ts";

// How many positions of a topic are remembered, and how many characters each may have.
const MAX_SEEN = 1024;
const MAX_POSITION = 256;

/** Options of {@linkcode JsonRpcClient.subscribe}. */
export interface SubscribeOptions {
  /**
   * Whether the client fetches the events that it missed while it was not connected, as far as the
   * server has kept them.
   *
   * @default {false}
   */
  readonly recover?: boolean | undefined;
  /**
   * How many of the newest events that the server has kept the handler gets first; at most 1,024.
   * Implies `recover`.
   *
   * @default {0}
   */
  readonly last?: number | undefined;
  /**
   * Called, with `recover`, if events were missed that the server no longer has: load the whole again.
   */
  readonly onGap?: ((gap: { readonly topic: string }) => unknown) | undefined;
  /**
   * Called if the subscription has ended although the program did not end it: the server has removed
   * the topic, has refused it after a reconnect, or has closed the connection for good.
   */
  readonly onError?: ((error: Error) => unknown) | undefined;
}

/** What a handler of a topic gets beside the data of an event. */
export interface EventInfo {
  /** The topic's name. */
  readonly topic: string;
  /** The position of the event in its topic. Known with `recover` or `last`. */
  readonly position: string | undefined;
  /**
   * Whether the event was published before the subscription and is one of those that the server has
   * kept. Known with `recover` or `last`.
   */
  readonly retained: boolean | undefined;
  /** When it was published, in milliseconds since 1970. Known with `recover` or `last`. */
  readonly time: number | undefined;
}

/** One handler of a topic. */
export interface Listener extends SubscribeOptions {
  /** Called with each event. */
  readonly handle: (data: never, info: EventInfo) => unknown;
  /** Called if the topic ends, without an error if the program ended it. */
  readonly ended?: (error?: Error) => void;
  /** Whether it joins late and its call is not answered: it gets no events, since older ones come first. */
  waits?: boolean;
  /** If it joins late: the positions of the kept events that it got. `undefined` once it has them all. */
  replayed?: Set<unknown> | undefined;
}

/** The params of `rpc.message` and `rpc.removed`. */
export interface TopicMessage {
  readonly topic?: unknown;
  readonly position?: unknown;
  readonly data?: unknown;
  readonly gap?: unknown;
  readonly retained?: unknown;
  readonly time?: unknown;
}

/** One topic that the client is subscribed to, or is about to be. */
export class TopicSubscription {
  /** The topic's name. */
  declare readonly topic: string;
  // Records instead of functions, since a program may subscribe one function twice.
  readonly listeners: Set<Listener> = new Set();
  /** Handles plain notifications. They tell nothing but the data. */
  readonly method: Method = {
    invoke: (data) => this.#deliver(data, { topic: this.topic } as EventInfo),
  };
  /** The call that subscribes; `undefined` if the next handler has to make one. */
  declare ready: Promise<unknown> | undefined;
  /** Whether the server has granted it. */
  live = false;
  /** Whether its events carry positions. */
  recover = false;
  /** With `recover`: the position of the last event. */
  declare position: string | undefined;
  readonly #logger: Logger;
  // Positions of the last events, to recognize one that the server sends twice.
  readonly #seen = new Set<unknown>();
  // Whether kept events are for late handlers alone, and come before `position`.
  #replays = false;

  /**
   * @param topic The topic's name.
   * @param logger Where a handler's failure is written.
   */
  constructor(topic: string, logger: Logger) {
    this.topic = topic;
    this.#logger = logger;
  }

  /** How many kept events its handlers ask for. */
  get last(): number {
    return Math.max(...[...this.listeners].map(({ last }) => last ?? 0));
  }

  /** Handles an event with a position, or the news of a gap. */
  message({ position: given, data, gap, retained, time }: TopicMessage): void {
    if (gap === true) {
      this.moveTo(given);
      return this.tellGap();
    }
    const position = kept(given);
    const info = { topic: this.topic, position, retained: retained === true, time } as EventInfo;
    const late = this.#late;
    if (info.retained && late.length > 0) return this.#replay(data, info, late);
    this.#caughtUp(late);
    if (this.#seen.has(position)) return;
    this.#reach(position);
    this.#deliver(data, info);
  }

  /** Sets the position without an event, so that events before it do not count as seen. */
  moveTo(position: unknown): void {
    this.#seen.clear();
    this.#reach(kept(position));
  }

  /**
   * Handles the answer to the call for a handler that joins late.
   *
   * @param listener The handler.
   * @param position The position that the server has answered.
   * @param recovered Whether the others have missed nothing.
   */
  joined(listener: Listener, position: unknown, recovered: boolean): void {
    const others = this.position;
    this.#replays = recovered && others !== undefined;
    if (!this.#replays) this.moveTo(position);
    if (!recovered) this.tellGap();
    listener.waits = false;
    // If the server stands where the others stand, it has kept nothing.
    if (!this.#replays || position !== others) listener.replayed = new Set();
  }

  /**
   * Handles the answer to the call that subscribes, or subscribes again.
   *
   * @param position The position that the server has answered.
   * @param wasThere Whether the call had a position.
   * @param recovered Whether the server sends all events after that position: they follow its answer, and
   * move the position themselves.
   */
  restored(position: unknown, wasThere: boolean, recovered: boolean): void {
    if (wasThere && recovered) return;
    this.moveTo(position);
    if (wasThere) this.tellGap();
  }

  /** Notes that the session has ended. A handler that was getting kept events has missed the rest. */
  interrupt(): void {
    const late = this.#late;
    if (this.#replays) this.tellGap(late);
    this.#caughtUp(late);
  }

  /** Tells handlers that events are lost. */
  tellGap(to?: readonly Listener[]): void {
    this.#each(({ onGap }) => onGap?.({ topic: this.topic }), to);
  }

  /**
   * Tells the handlers that the topic has ended.
   *
   * @param error Why; `undefined` if the program ended it.
   * @param isTold Whether `onError` gets the error too.
   */
  end(error?: Error, isTold?: boolean): void {
    for (const { ended, onError } of [...this.listeners]) {
      ended?.(error);
      if (error && isTold) this.#run(() => onError?.(error));
    }
  }

  get #late(): Listener[] {
    return [...this.listeners].filter(({ replayed }) => replayed);
  }

  /** Passes a kept event to those late handlers that have not had it. */
  #replay(data: unknown, info: EventInfo, late: readonly Listener[]): void {
    const { position } = info;
    const missing = late.filter(({ replayed }) => !replayed?.has(position));
    for (const { replayed } of missing) remember(position, replayed as Set<unknown>);
    if (!this.#replays) this.#reach(position);
    else if (position === this.position) this.#caughtUp(late);
    this.#deliver(data, info, missing);
  }

  #caughtUp(late: readonly Listener[]): void {
    for (const listener of late) listener.replayed = undefined;
    this.#replays = false;
  }

  #reach(position: string | undefined): void {
    this.position = position;
    remember(position, this.#seen);
  }

  #deliver(data: unknown, info: EventInfo, to?: readonly Listener[]): void {
    this.#each(({ handle }) => handle(data as never, info), to);
  }

  /** @param to A copy of the handlers, since a handler may add another, which must not get this event. */
  #each(run: (listener: Listener) => unknown, to: readonly Listener[] = [...this.listeners]): void {
    for (const listener of to) {
      if (this.listeners.has(listener) && !listener.waits) this.#run(() => run(listener));
    }
  }

  #run(handler: () => unknown): void {
    runSafely(handler, (error) => {
      logFailure(this.#logger, `A handler of topic "${this.topic}"`, error);
    });
  }
}

/** Notes a position. Forgets the oldest if there are too many. */
function remember(position: unknown, seen: Set<unknown>): void {
  if (position) seen.add(position);
  if (seen.size > MAX_SEEN) {
    const [oldest] = seen;
    seen.delete(oldest);
  }
}

/**
 * What is kept of a position: "" for what is none, or too long. No server knows that position, so the next call
 * that subscribes is answered that events may be missing.
 */
function kept(position: unknown): string {
  return typeof position === "string" && position.length <= MAX_POSITION ? position : "";
}
