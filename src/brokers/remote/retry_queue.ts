/**
 * An engine in another process: in reach or not, and what waits for it.
 *
 * @module
 */

import type { Logger } from "../../util/logger.ts";
import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";

/** What is to be known of an engine. */
export interface RetryQueueOptions {
  /** Its name in messages. */
  readonly name: string;
  /** How long something may wait for it, in milliseconds. */
  readonly timeoutMs: number;
  /** Told once when it goes, and once when it is back. */
  readonly logger: Logger;
  /** Resolves when it answers. */
  probe(): Promise<unknown>;
  /** Whether an attempt failed because the engine could not be reached. */
  isAway(error: unknown): boolean;
  /** Whether it is certain, after an attempt that failed so, that nothing was done. */
  isUndone(error: unknown): boolean;
}

/** Something to do in an engine. */
export interface RetryTask<T> {
  /** What cannot be done where it fails, as words after "Cannot". */
  readonly action: string;
  /**
   * Tries it. `isOver` tells whether nobody waits for it any more; `sent` is called as soon as the
   * engine may do what cannot be undone.
   */
  attempt(isOver: () => boolean, sent: () => void): Promise<T>;
  /**
   * What the engine may have done although the task fails, as in "it may have been published". Only
   * tasks that call `sent` need it.
   */
  readonly doing?: string;
  /**
   * Whether it may be tried again where it is not known whether it was done.
   *
   * @default {true}
   */
  readonly again?: boolean;
  /**
   * Whether it may take longer where much is asked for at once: as long as the engine answers
   * something, up to a few times the bound.
   *
   * @default {false}
   */
  readonly patient?: boolean;
}

// What may wait while the engine is away: it is all in memory.
const MAX_WAITING = 10_000;
const FIRST_PROBE_MS = 50;
const LAST_PROBE_MS = 1_000;
const REST_MS = 1_000;
const MAX_EXTENSIONS = 5;

/** Does tasks in an engine, within a bounded time, in the order in which they came. */
export class RetryQueue {
  /** What is to be known of it. */
  readonly options: RetryQueueOptions;
  readonly #jobs = new Set<Job>();
  readonly #resting = new Set<() => void>();
  #waiting: Job[] = [];
  #why: string | undefined;
  #answeredAt = -Infinity;
  #closed = false;
  #timer: Timer | undefined;

  /** @param options What is to be known of it. */
  constructor(options: RetryQueueOptions) {
    this.options = options;
  }

  /** Why it is out of reach; `undefined` while it is not. */
  get why(): string | undefined {
    return this.#why;
  }

  /** Whether nothing came from it since a moment of `performance.now()`. */
  isSilentSince(moment: number): boolean {
    return this.#answeredAt < moment;
  }

  /**
   * Does a task as soon as the engine is in reach.
   *
   * @returns What it gives. Rejects where that takes too long, or the engine refuses.
   */
  run<T>(task: RetryTask<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job = new Job(this, task, {
      done: (value) => resolve(value as T),
      failed: reject,
      ended: () => this.#jobs.delete(job),
    });
    this.#jobs.add(job);
    if (this.#closed) job.fail("the broker is closed");
    else if (this.#why === undefined) job.go();
    else this.wait(job);
    return promise;
  }

  /** Lets a job wait until the engine is in reach. */
  wait(job: Job): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(job);
    else job.fail(`${this.options.name} is out of reach, and too much waits for it`);
  }

  /** Says that the engine has answered something. */
  answered(): void {
    this.#answeredAt = performance.now();
  }

  /** Says that the engine is out of reach: what comes waits until it answers a probe. */
  lost(error: unknown): void {
    if (this.#closed) return;
    const known = this.#why !== undefined;
    // The first thing heard may say less than what follows.
    this.#why = reasonOf(error);
    if (known) return;
    this.options.logger.warn(`${this.options.name} is out of reach: ${this.#why}`);
    this.#probeIn(FIRST_PROBE_MS);
  }

  /** Tries again what is under way: it will not be answered. */
  interrupt(error: unknown): void {
    this.lost(error);
    for (const job of this.#jobs) job.interrupt(error);
  }

  /** Whether anything waits for an answer. */
  get isBusy(): boolean {
    return this.#jobs.size > 0;
  }

  /**
   * Tries again what is under way, if that is safe: the server that was to answer may be gone, although
   * others of its cluster can be reached.
   */
  retryAll(): void {
    if (this.#why !== undefined) return; // done as soon as it is back
    for (const job of this.#jobs) job.repeat();
  }

  /** Does something again and again until it succeeds, as long as it is wanted. */
  async retryUntil<T>(isWanted: () => boolean, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isWanted()) throw error;
        await this.#rest();
      }
    }
  }

  /** Resolves when the engine is back, else after a while. */
  #rest(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#resting.delete(end);
        resolve();
      };
      const timer = unref(setTimeout(end, REST_MS));
      if (this.#closed) end();
      else this.#resting.add(end);
    });
  }

  /** Ends all that waits. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const end of this.#resting) end();
    for (const job of this.#jobs) job.fail("the broker is closed");
  }

  #probeIn(ms: number): void {
    this.#timer = unref(setTimeout(() => void this.#probe(ms), ms));
  }

  async #probe(ms: number): Promise<void> {
    try {
      await this.options.probe();
    } catch (error) {
      if (this.#closed) return;
      this.#why = reasonOf(error);
      return this.#probeIn(Math.min(2 * ms, LAST_PROBE_MS));
    }
    if (this.#closed) return;
    this.#why = undefined;
    this.options.logger.info(`${this.options.name} is back`);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const job of this.#jobs) job.repeat();
    for (const job of waiting) job.go();
    for (const end of this.#resting) end();
  }
}

interface Outcome {
  done(value: unknown): void;
  failed(error: Error): void;
  ended(): void;
}

/** A task that somebody waits for. */
class Job {
  readonly #engine: RetryQueue;
  readonly #task: RetryTask<unknown>;
  readonly #outcome: Outcome;
  #timer: Timer;
  #extensions: number;
  #since: number = performance.now();
  #over = false;
  // Which attempt counts; what an older one brings does not.
  #round = 0;
  #underWay = false;
  // Whether the attempt under way, or an earlier one, has sent what the engine may have done.
  #isSent = false;
  #mayBeDone = false;

  constructor(engine: RetryQueue, task: RetryTask<unknown>, outcome: Outcome) {
    this.#engine = engine;
    this.#task = task;
    this.#outcome = outcome;
    this.#extensions = task.patient ? MAX_EXTENSIONS : 0;
    this.#timer = setTimeout(() => this.#late(), engine.options.timeoutMs);
  }

  /** Tries it, if somebody still waits. */
  go(): void {
    if (this.#over) return;
    const round = ++this.#round;
    this.#underWay = true;
    this.#mayBeDone ||= this.#isSent;
    this.#isSent = false;
    const sent = (): void => {
      if (round === this.#round) this.#isSent = true;
      else this.#mayBeDone = true;
    };
    this.#task.attempt(() => this.#over, sent).then(
      (value) => {
        this.#engine.answered();
        if (this.#over || round !== this.#round) return;
        this.#end();
        this.#outcome.done(value);
      },
      (error) => {
        if (!this.#over && round === this.#round) this.#failed(error);
      },
    );
  }

  /** Ends an attempt that will not be answered. */
  interrupt(error: unknown): void {
    if (this.#underWay) this.#failed(error);
  }

  /** Tries again what is under way since before the engine went: it may never be answered. */
  repeat(): void {
    const { again = true } = this.#task;
    if (this.#underWay && again) this.go();
  }

  /** Gives up. */
  fail(why: string, cause?: unknown): void {
    this.#end();
    const { action, doing } = this.#task;
    const warning = this.#mayBeDone || this.#isSent ? `; it may have been ${doing}` : "";
    this.#outcome.failed(new Error(`Cannot ${action}: ${why}${warning}`, { cause }));
  }

  #failed(error: unknown): void {
    const { isAway, isUndone, name } = this.#engine.options;
    this.#round++;
    this.#underWay = false;
    if (isUndone(error)) this.#isSent = false;
    const reason = reasonOf(error);
    if (!isAway(error)) return this.fail(reason, error);
    this.#engine.lost(error);
    const { again = true } = this.#task;
    if (again || !this.#isSent) this.#engine.wait(this);
    else this.fail(`${name} went away meanwhile (${reason})`, error);
  }

  #late(): void {
    const { options: { name, timeoutMs }, why } = this.#engine;
    const isSilent = this.#engine.isSilentSince(this.#since);
    if (why === undefined && !isSilent && this.#extensions-- > 0) {
      this.#since = performance.now();
      this.#timer = setTimeout(() => this.#late(), timeoutMs);
      return;
    }
    const reason = why === undefined
      ? `did not answer within ${timeoutMs} ms`
      : `is out of reach (${why})`;
    if (this.#underWay && isSilent) {
      this.#engine.lost(new Error(`no answer within ${timeoutMs} ms`));
    }
    this.fail(`${name} ${reason}`);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#outcome.ended();
  }
}

/** Why something failed, without what a URL may tell of users and passwords. */
export function reasonOf(error: unknown): string {
  const { code, errors, message } = error as Partial<AggregateError> & { code?: unknown };
  const text = message || (errors?.[0] as Error | undefined)?.message || String(code ?? error);
  return text.replace(/\/\/[^/\s]*@/g, "//***@");
}
