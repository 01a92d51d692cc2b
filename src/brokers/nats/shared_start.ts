/**
 * The position of topics that have no event yet.
 *
 * Anybody can subscribe to any number of names, so that a name must not cost a message. All of them
 * share one that no topic uses: as long as it is in the stream, nothing that came after it has been
 * dropped for its age, and the stream has not lost it. How many events a topic may have had since is
 * part of its subject: if there are no more, none was dropped for its number either.
 *
 * @module
 */

import type { Retention } from "../broker.ts";
import type { KeptMessage } from "./message.ts";

/** The message, and the epoch that its publisher knew. */
export interface StartMessage {
  readonly epoch: string;
  readonly message: KeptMessage;
}

/** How it reaches the stream. */
export interface SharedStartOptions {
  /** What the subjects of the stream begin with. */
  readonly prefix: string;
  /** The stream's epoch, and what it keeps. */
  state(): { readonly epoch: string; readonly kept: Retention };
  /** The message of a subject; `undefined` if there is none. */
  find(subject: string): Promise<StartMessage | undefined>;
  /** Appends one, unless there is one. */
  append(subject: string): Promise<unknown>;
}

// No topic has a name with this in it: `%` is always followed by two digits, or `u` and four.
const MARK = "%start";
// How long the stream is not asked again.
const FRESH_MS = 2_000;

/** One stream's. */
export class SharedStart {
  readonly #options: SharedStartOptions;
  #known:
    | { readonly subject: string; readonly until: number; readonly start: StartMessage }
    | undefined;
  #asking: Promise<void> | undefined;

  /** @param options How it reaches the stream. */
  constructor(options: SharedStartOptions) {
    this.#options = options;
  }

  /** The message that was there a moment ago; `undefined` if the stream has to be asked. */
  get known(): StartMessage | undefined {
    const { start, subject, until } = this.#known ?? {};
    return subject === this.#subject && performance.now() < (until as number) ? start : undefined;
  }

  /** Finds the message, or makes it. */
  renew(): Promise<void> {
    this.#asking ??= this.#renew().finally(() => this.#asking = undefined);
    return this.#asking;
  }

  /** Forgets what is known of it. */
  forget(): void {
    this.#known = undefined;
  }

  async #renew(): Promise<void> {
    const subject = this.#subject;
    const { append, find } = this.#options;
    let start = await find(subject);
    while (start === undefined) {
      await append(subject);
      start = await find(subject);
    }
    this.#known = { subject, start, until: performance.now() + FRESH_MS };
  }

  /** Another one well before the stream drops the one before, and if the stream keeps more than before. */
  get #subject(): string {
    const { prefix, state } = this.#options;
    const { epoch, kept: { ageMs, size } } = state();
    const period = ageMs === Infinity ? 0 : Math.floor(Date.now() / (ageMs / 2));
    return `${prefix}.${MARK}.${epoch}.${sizeText(size)}.${period}`;
  }
}

/** The subjects of all such messages of a stream that keeps so many events of each topic. */
export function startsOf(prefix: string, epoch: string, size: number): string {
  return `${prefix}.${MARK}.${epoch}.${sizeText(size)}.>`;
}

function sizeText(size: number): string {
  return size === Infinity ? "all" : String(size);
}

/** How many events of each topic the stream keeps at least since a message; `undefined` if it is no such message. */
export function startSize(subject: string): number | undefined {
  const [, size] = /\.%start\.\w*\.(\d+|all)\.\d+$/.exec(subject) ?? [];
  return size === undefined ? undefined : size === "all" ? Infinity : Number(size);
}
