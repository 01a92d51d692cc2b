/**
 * Tasks for Redis or NATS (here "the engine"): while it cannot be reached, they wait in a queue.
 *
 * @module
 */

import type { Logger } from "../../util/logger.ts";
import { DeadlineQueue } from "../../util/deadline.ts";
import { unref } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";

/** What the queue has to know of an engine. */
export interface RetryQueueOptions {
  /** Its name in messages. */
  readonly name: string;
  /** How long a task may take, in milliseconds, the time in the queue included. */
  readonly timeoutMs: number;
  /** Gets one line when the connection is lost, and one when it is back. */
  readonly logger: Logger;
  /** Asks the engine for a sign of life. Resolves when it answers. */
  probe(): Promise<unknown>;
  /** Whether an attempt failed because the engine could not be reached. */
  isAway(error: unknown): boolean;
  /** Whether an error proves that the engine has done nothing. */
  isUndone(error: unknown): boolean;
  /** Whether the engine has answered, and refuses for now: a probe does not tell when it no longer does. */
  isRefusal(error: unknown): boolean;
}

type Action = "publish to" | "subscribe to" | "read the history of";

/** A task for the engine. */
export interface RetryTask<T> {
  /** What to do, and to which topic: the words after "Cannot" in the error of a task that fails. */
  readonly action: Action;
  readonly topic: string;
  /**
   * Does the task once. The queue may call it again if it rejects.
   *
   * @param isOver Whether the task has ended, or has been started again: then this result no longer counts.
   * @param sent Has to be called before a request goes out that the engine must not get twice.
   */
  attempt(isOver: () => boolean, sent: () => void): Promise<T>;
  /**
   * What the engine may have done although the task fails, as in "it may have been published". Only
   * tasks that call `sent` need it.
   */
  readonly doing?: string;
  /**
   * Whether the task may be tried again if it may have been done already.
   *
   * @default {true}
   */
  readonly again?: boolean;
  /**
   * Whether the task may take up to six times as long, as long as the engine answers other tasks:
   * many tasks at once take their time.
   *
   * @default {false}
   */
  readonly patient?: boolean;
}

// How many tasks may wait while the engine is away: they are in memory.
const MAX_WAITING = 10_000;
const FIRST_PROBE_MS = 50;
const LAST_PROBE_MS = 1_000;
const REST_MS = 1_000;
const MAX_EXTENSIONS = 5;

/** Runs tasks, each within a bounded time, in the order in which they came. */
export class RetryQueue {
  /** What the queue knows of the engine. */
  readonly options: RetryQueueOptions;
  readonly #jobs: DeadlineQueue<Job>;
  readonly #resting = new Set<() => void>();
  #waiting: Job[] = [];
  #why: string | undefined;
  // Whether the log says that the engine is out of reach.
  #isTold = false;
  // What the engine has refused, although it answers probes: it is back once it does that.
  readonly #refused = new Set<Action>();
  #pauseMs = FIRST_PROBE_MS;
  #answers = 0;
  #closed = false;
  #timer: Timer | undefined;

  /** @param options What the queue has to know of the engine. */
  constructor(options: RetryQueueOptions) {
    this.options = options;
    this.#jobs = new DeadlineQueue(options.timeoutMs);
  }

  /** Why the engine is out of reach; `undefined` while it is in reach. */
  get why(): string | undefined {
    return this.#why;
  }

  /** How many attempts the engine has answered. */
  get answers(): number {
    return this.#answers;
  }

  /**
   * Runs a task as soon as the engine is in reach.
   *
   * @param task The task.
   * @returns What the task gives. Rejects if that takes too long, the engine refuses, too many tasks
   * wait, or the queue is closed.
   */
  run<T>(task: RetryTask<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const job = new Job(this, task, resolve as (value: unknown) => void, reject);
      if (this.#closed) return job.fail("the broker is closed");
      this.begin(job);
      if (this.#why === undefined) job.go();
      else this.wait(job);
    });
  }

  /** Lets the time that a job may take begin. */
  begin(job: Job): void {
    this.#jobs.begin(job);
  }

  /** Has to be called when a job has ended. */
  ended(job: Job): void {
    this.#jobs.delete(job);
  }

  /** Lets a job wait until the engine is in reach. */
  wait(job: Job): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(job);
    else job.fail(`${this.options.name} is out of reach, and too much waits for it`);
  }

  /** Has to be called when the engine has done something. */
  answered(action: Action): void {
    this.#answers++;
    if (this.#refused.delete(action) && this.#why === undefined) this.#tellBack();
  }

  /**
   * Has to be called when the engine cannot be reached. Tasks wait until it answers a probe.
   *
   * @param error Why.
   * @param action What the engine has refused, if it was reached.
   */
  lost(error: unknown, action?: Action): void {
    if (this.#closed) return;
    const known = this.#why !== undefined;
    // A later error often says more than the first.
    this.#why = reasonOf(error);
    if (action !== undefined && this.options.isRefusal(error)) this.#refused.add(action);
    if (known) return;
    if (!this.#isTold) {
      this.#isTold = true;
      this.options.logger.warn(`${this.options.name} is out of reach: ${this.#why}`);
    }
    this.#probeSoon();
  }

  /** Has to be called when no task under way will be answered any more: they are tried again. */
  interrupt(error: unknown): void {
    this.lost(error);
    for (const job of this.#jobs) job.interrupt(error);
  }

  /** Whether any task has not ended. */
  get isBusy(): boolean {
    return this.#jobs.size > 0;
  }

  /**
   * Tries the tasks under way again, if that is safe: the server that they were sent to may be gone,
   * although others of its cluster can be reached.
   */
  retryAll(): void {
    if (this.#why !== undefined) return; // the probe does it when the engine is back
    for (const job of this.#jobs) job.repeat();
  }

  /** Repeats some work until it succeeds. Rejects with its error once it is no longer wanted. */
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

  /** Fails all tasks, and refuses new ones. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const end of this.#resting) end();
    for (const job of this.#jobs) job.fail("the broker is closed");
    this.#jobs.clear();
  }

  /** Each time later than before, until the engine is back. */
  #probeSoon(): void {
    this.#timer = unref(setTimeout(() => void this.#probe(), this.#pauseMs));
    this.#pauseMs = Math.min(2 * this.#pauseMs, LAST_PROBE_MS);
  }

  async #probe(): Promise<void> {
    try {
      await this.options.probe();
    } catch (error) {
      if (this.#closed) return;
      this.#why = reasonOf(error);
      this.#refused.clear(); // the next probe that succeeds tells enough
      return this.#probeSoon();
    }
    if (this.#closed) return;
    this.#why = undefined;
    this.#tellBack();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const job of this.#jobs) job.repeat();
    for (const job of waiting) job.go();
    for (const end of this.#resting) end();
  }

  #tellBack(): void {
    if (this.#refused.size > 0) return;
    this.#isTold = false;
    this.#pauseMs = FIRST_PROBE_MS;
    this.options.logger.info(`${this.options.name} is back`);
  }
}

/** A task with its attempts. */
class Job {
  readonly #engine: RetryQueue;
  readonly #task: RetryTask<unknown>;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: Error) => void;
  #extensions: number;
  // How many answers the engine had given when the time of the job began.
  #answers: number;
  #over = false;
  // The number of the attempt whose result counts. Results of older ones are ignored.
  #attempt = 0;
  #underWay = false;
  // Whether the attempt under way has sent something that the engine may have done, ...
  #isSent = false;
  // ... and whether an earlier attempt has.
  #mayBeDone = false;

  constructor(
    engine: RetryQueue,
    task: RetryTask<unknown>,
    resolve: (value: unknown) => void,
    reject: (error: Error) => void,
  ) {
    this.#engine = engine;
    this.#task = task;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#extensions = task.patient ? MAX_EXTENSIONS : 0;
    this.#answers = engine.answers;
  }

  /** Starts an attempt, unless the task has ended. */
  go(): void {
    if (this.#over) return;
    const attempt = ++this.#attempt;
    this.#underWay = true;
    this.#mayBeDone ||= this.#isSent;
    this.#isSent = false;
    const sent = (): void => {
      if (attempt === this.#attempt) this.#isSent = true;
      else this.#mayBeDone = true;
    };
    const isOver = () => this.#over || attempt !== this.#attempt;
    this.#task.attempt(isOver, sent).then(
      (value) => {
        this.#engine.answered(this.#task.action);
        if (isOver()) return;
        this.#end();
        this.#resolve(value);
      },
      (error) => {
        if (!isOver()) this.#failed(error);
      },
    );
  }

  /** Ends an attempt that will not be answered. */
  interrupt(error: unknown): void {
    if (this.#underWay) this.#failed(error);
  }

  /** Starts another attempt beside the one under way, which may never be answered. */
  repeat(): void {
    const { again = true } = this.#task;
    if (this.#underWay && again) this.go();
  }

  /** Ends the task with an error. */
  fail(why: string, cause?: unknown): void {
    this.#end();
    const { action, doing, topic } = this.#task;
    const warning = this.#mayBeDone || this.#isSent ? `; it may have been ${doing}` : "";
    const name = JSON.stringify(topic);
    this.#reject(new Error(`Cannot ${action} ${name}: ${why}${warning}`, { cause }));
  }

  #failed(error: unknown): void {
    const { isAway, isUndone, name } = this.#engine.options;
    this.#attempt++;
    this.#underWay = false;
    if (isUndone(error)) this.#isSent = false;
    const reason = reasonOf(error);
    if (!isAway(error)) return this.fail(reason, error);
    const { action, again = true } = this.#task;
    this.#engine.lost(error, action);
    if (again || !this.#isSent) this.#engine.wait(this);
    else this.fail(`${name} went away meanwhile (${reason})`, error);
  }

  /** Called when its time is over. */
  late(): void {
    const { answers, options: { name, timeoutMs }, why } = this.#engine;
    const isSilent = answers === this.#answers;
    if (why === undefined && !isSilent && this.#extensions-- > 0) {
      this.#answers = answers;
      return this.#engine.begin(this);
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
    this.#engine.ended(this);
  }
}

/** Why something failed, without the user, the password and the query of a URL. */
export function reasonOf(error: unknown): string {
  const { code, errors, message } = error as Partial<AggregateError> & { code?: unknown };
  const text = message || (errors?.[0] as Error | undefined)?.message || String(code ?? error);
  return text.replace(/\/\/[^/\s]*@/g, "//***@").replace(/(\/\/[^\s?"']*\?)[^\s"']*/g, "$1***");
}
