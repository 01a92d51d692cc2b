/**
 * Runs the checker: publishes to topics of a store while things happen to it, and judges what listeners
 * received.
 */
import type { Broker } from "../../../src/brokers/broker.ts";
import { Checker } from "./checker.ts";
import type { ListenerRecord, Verdict } from "./checker.ts";
import type { FaultName, Store } from "./stores.ts";

/** What is done in a run. */
export interface RunOptions {
  /** How many events at least. */
  readonly events: number;
  /** What happens to the store, one after the other, spread over the run. */
  readonly faults: readonly FaultName[];
  /** Adds listeners of its own, before anything is published. */
  readonly begin?: (checker: Checker, topics: readonly string[]) => Promise<void>;
  /** Called with each fault. */
  readonly meanwhile?: () => Promise<void>;
}

/** What a run shows. */
export interface RunResult extends Verdict {
  /** The longest time, in milliseconds, in which no event was accepted. */
  readonly longestPauseMs: number;
}

const TOPICS = Array.from({ length: 8 }, (_, n) => `room.${n}`);
const KEEP = { size: 100_000, ageMs: Infinity };
const PATIENCE_MS = 90_000;

/** Runs it. */
export async function checkRun(store: Store, options: RunOptions): Promise<RunResult> {
  const [checker, brokers] = [new Checker(), [store.make(), store.make()] as const];
  for (const topic of TOPICS) {
    for (const broker of new Set(brokers)) {
      await broker.subscribe(topic, KEEP, checker.listener(topic));
    }
  }
  await options.begin?.(checker, TOPICS);
  const run = new Run(checker, brokers);
  const publishing = TOPICS.map((topic, n) => run.publishAll(topic, n));
  try {
    for (const [n, fault] of options.faults.entries()) {
      await run.progress(options.events * (n + 1) / (options.faults.length + 1));
      const repair = await store.hit(fault, TOPICS[0] as string);
      await options.meanwhile?.();
      if (store.takesOver) await run.progress(checker.acked + 50);
      await repair();
    }
    await run.progress(options.events);
    run.isOver = true;
    await Promise.all(publishing);
    await run.settle();
    const judge = store.make();
    const verdict = await checker.judge(judge, KEEP);
    await judge.close();
    return { ...verdict, longestPauseMs: Math.round(run.longestPauseMs) };
  } finally {
    run.isOver = true;
    for (const broker of brokers) await broker.close();
  }
}

class Run {
  isOver = false;
  longestPauseMs = 0;
  readonly #checker: Checker;
  readonly #brokers: readonly Broker[];
  readonly #next = new Map<string, number>();
  #lastAt = performance.now();

  constructor(checker: Checker, brokers: readonly Broker[]) {
    this.#checker = checker;
    this.#brokers = brokers;
  }

  /** Publishes to a topic, one event after the other, so that there is always something under way. */
  async publishAll(topic: string, n: number): Promise<void> {
    while (!this.isOver) await this.#publish(topic, n);
    // The last event has to be accepted: listeners wait for it.
    while (!await this.#publish(topic, n)) await sleep(100);
  }

  /** Waits until so many events were accepted. */
  async progress(acked: number): Promise<void> {
    await within(() => this.#checker.acked >= acked, "the store accepts nothing");
  }

  /** Waits until all listeners have the last event of their topic, or a while if they do not get it. */
  async settle(): Promise<void> {
    const isLate = ({ last, topic }: ListenerRecord) =>
      last !== (this.#next.get(topic) as number) - 1;
    const end = performance.now() + PATIENCE_MS / 3;
    while (this.#checker.listeners.some(isLate) && performance.now() < end) await sleep(50);
    await sleep(500); // whatever comes twice
  }

  async #publish(topic: string, n: number): Promise<boolean> {
    const number = this.#next.get(topic) ?? 0;
    this.#next.set(topic, number + 1);
    const broker = this.#brokers[n % this.#brokers.length] as Broker;
    const isAcked = await this.#checker.publish(
      topic,
      number,
      () => broker.publish(topic, `${number}`, KEEP),
    );
    if (isAcked) {
      this.longestPauseMs = Math.max(this.longestPauseMs, performance.now() - this.#lastAt);
      this.#lastAt = performance.now();
    }
    if (number % 20 === 0) await sleep(1); // memory answers at once
    return isAcked;
  }
}

async function within(holds: () => boolean, failure: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(failure);
    await sleep(20);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
