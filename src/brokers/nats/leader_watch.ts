/**
 * Watches which server of a cluster leads the stream.
 *
 * A new leader may lack messages that the old one has published, or give their sequences to others,
 * and what the old one stored last may never have been published. After each change every topic has
 * to be looked at.
 *
 * @module
 */

import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";
import type { StreamState } from "./stream.ts";

/** What the watch needs. */
export interface LeaderWatchOptions {
  /** How often to ask, in milliseconds. */
  readonly everyMs: number;
  /** Whether anybody needs to know. */
  isNeeded(): boolean;
  /** Asks for the stream; `undefined` if there is none. */
  ask(): Promise<StreamState | undefined>;
  /** Called once the stream has a new leader, has lost messages, or is back after it did not answer. */
  onChange(): void;
}

/** One stream's watch: one small request every few seconds, however many topics there are. */
export class LeaderWatch {
  readonly #options: LeaderWatchOptions;
  readonly #timer: Timer;
  #leader: string | undefined;
  // Whether the last question was not answered.
  #isSilent = false;
  #asking = false;
  #ended = false;

  /** @param options What it needs. */
  constructor(options: LeaderWatchOptions) {
    this.#options = options;
    this.#timer = unref(setInterval(() => void this.look(), options.everyMs));
  }

  /** Asks now, unless it is asking already. */
  async look(): Promise<void> {
    if (this.#asking || this.#ended || !this.#options.isNeeded()) return;
    this.#asking = true;
    const state = await this.#options.ask().catch(() => undefined);
    this.#asking = false;
    if (!this.#ended) this.#compare(state);
  }

  /** Ends it. */
  end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
  }

  #compare(state: StreamState | undefined): void {
    const [leader, wasSilent] = [this.#leader, this.#isSilent];
    this.#isSilent = state === undefined;
    if (state === undefined) return;
    this.#leader = state.leader;
    const isOther = leader !== undefined && state.leader !== leader;
    if (wasSilent || state.isBack || isOther) this.#options.onChange();
  }
}
