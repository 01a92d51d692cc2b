/**
 * Finds out whether a broker kept its promise, in the style of Jepsen: it records what was published and
 * accepted, what each listener received and which gaps it was told of, and compares all of that with what the
 * topic has in the end.
 */
import type { Broker, BrokerEvent, BrokerSink, Position } from "../../../src/brokers/broker.ts";

/** What a check counts. All but `acked`, `uncertain`, `gaps` and `lostByStore` must be 0. */
export interface Verdict {
  /** Events that `publish` accepted. */
  readonly acked: number;
  /** Events of which `publish` said that they may have been published. */
  readonly uncertain: number;
  /** Accepted events that the store no longer has, although it should keep them. */
  readonly lostByStore: number;
  /** Events that the topic has, and a listener neither received nor was told of by a gap. */
  readonly silent: number;
  /** Events that a listener received again. */
  readonly twice: number;
  /** Events that a listener received, or the topic has, in another order than they were published. */
  readonly disorder: number;
  /** Gaps that listeners were told of. */
  readonly gaps: number;
  /** Positions that history called complete although something was missing after them. */
  readonly falseClaims: number;
  /** Events that the topic has although `publish` said that they were not published. */
  readonly undead: number;
}

/** What one listener received from one topic, and where it was told of gaps. */
export class ListenerRecord implements BrokerSink {
  readonly topic: string;
  /** Events, gaps, and where the store began anew without its data. */
  readonly entries: (number | "gap" | "reset")[] = [];
  readonly positions = new Map<number, Position>();
  #epoch: string | undefined;

  constructor(topic: string) {
    this.topic = topic;
  }

  /** The last event. */
  get last(): number {
    return this.entries.findLast((each) => typeof each === "number") as number | undefined ?? -1;
  }

  event({ data, position }: BrokerEvent): void {
    this.positions.set(Number(data), position);
    this.receive(Number(data), position.epoch);
  }

  /** Records an event of which no position is to be tried. */
  receive(n: number, epoch: string): void {
    if (epoch !== (this.#epoch ?? epoch)) this.entries.push("reset");
    this.#epoch = epoch;
    this.entries.push(n);
  }

  gap(): void {
    this.entries.push("gap");
  }
}

/** How one event was answered. */
type Outcome = "acked" | "uncertain" | "refused";

/** The record of a run. Each topic's events are numbers, published one after the other. */
export class Checker {
  readonly listeners: ListenerRecord[] = [];
  readonly #outcomes = new Map<string, Map<number, Outcome>>();

  /** Records what one more listener receives. */
  listener(topic: string): ListenerRecord {
    const record = new ListenerRecord(topic);
    this.listeners.push(record);
    return record;
  }

  /** Publishes an event and records how that ends; returns whether it was accepted. */
  async publish(topic: string, n: number, publish: () => unknown): Promise<boolean> {
    let outcome: Outcome = "acked";
    try {
      await publish();
    } catch (error) {
      outcome = /it may have been published$/.test(String(error)) ? "uncertain" : "refused";
    }
    this.#of(topic).set(n, outcome);
    return outcome === "acked";
  }

  /** The number of accepted events. */
  get acked(): number {
    return this.#count("acked");
  }

  /** Compares the record with what the topics have. */
  async judge(broker: Broker, keep: { size: number; ageMs: number }): Promise<Verdict> {
    const counts = { silent: 0, twice: 0, disorder: 0, gaps: 0, falseClaims: 0 };
    let [lostByStore, undead] = [0, 0];
    for (const [topic, outcomes] of this.#outcomes) {
      const { events } = await broker.history(topic, keep, {});
      const log = new Log(events.map(({ data }) => Number(data)));
      counts.disorder += log.disorder(outcomes);
      for (const [n, outcome] of outcomes) {
        if (outcome === "acked" && !log.has(n)) lostByStore++;
        if (outcome === "refused" && log.has(n)) undead++;
      }
      for (const record of this.listeners.filter((each) => each.topic === topic)) {
        for (const [name, count] of Object.entries(log.compare(record.entries))) {
          counts[name as keyof typeof counts] += count;
        }
        counts.falseClaims += await falseClaims(broker, keep, record, log);
      }
    }
    const uncertain = this.#count("uncertain");
    return { acked: this.acked, uncertain, lostByStore, undead, ...counts };
  }

  #of(topic: string): Map<number, Outcome> {
    const outcomes = this.#outcomes.get(topic) ?? new Map<number, Outcome>();
    this.#outcomes.set(topic, outcomes);
    return outcomes;
  }

  #count(wanted: Outcome): number {
    let count = 0;
    for (const outcomes of this.#outcomes.values()) {
      for (const outcome of outcomes.values()) if (outcome === wanted) count++;
    }
    return count;
  }
}

/** What a topic has in the end. */
export class Log {
  readonly #numbers: readonly number[];
  readonly #index: ReadonlyMap<number, number>;

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
    this.#index = new Map(numbers.map((n, index) => [n, index]));
  }

  has(n: number): boolean {
    return this.#index.has(n);
  }

  /** What comes after an event. */
  after(n: number): readonly number[] {
    return this.#numbers.slice((this.#index.get(n) ?? -1) + 1);
  }

  /** How many events it has twice, or before one that was accepted before they were published. */
  disorder(outcomes: ReadonlyMap<number, Outcome>): number {
    let [highest, count] = [-1, this.#numbers.length - this.#index.size];
    for (const n of this.#numbers) {
      if (outcomes.get(n) !== "acked") continue;
      if (n < highest) count++;
      highest = Math.max(highest, n);
    }
    return count;
  }

  /** What a listener missed, received again, or received out of order. It was there from the start. */
  compare(
    entries: readonly (number | "gap" | "reset")[],
  ): { silent: number; twice: number; disorder: number; gaps: number } {
    const result = { silent: 0, twice: 0, disorder: 0, gaps: 0 };
    const seen = new Set<number>();
    let [next, isTold] = [0, false];
    const goTo = (index: number): void => {
      if (!isTold) {
        result.silent += this.#numbers.slice(next, index).filter((n) => !seen.has(n)).length;
      }
      [next, isTold] = [index + 1, false];
    };
    for (const entry of entries) {
      if (entry === "reset") {
        // What the store had before is not known any more.
        seen.clear();
        next = result.silent = result.disorder = 0;
        continue;
      }
      if (entry === "gap") {
        result.gaps++;
        isTold = true;
        continue;
      }
      if (seen.has(entry)) result.twice++;
      seen.add(entry);
      const index = this.#index.get(entry);
      if (index === undefined) continue; // the store has lost it since
      if (index < next) result.disorder++;
      else goTo(index);
    }
    goTo(this.#numbers.length);
    return result;
  }
}

// So many positions of each listener are tried.
const SAMPLES = 8;

/** Reads on from positions that a listener was given, as a client does that comes back. */
async function falseClaims(
  broker: Broker,
  keep: { size: number; ageMs: number },
  { positions, topic }: ListenerRecord,
  log: Log,
): Promise<number> {
  const all = [...positions];
  const lost = all.filter(([n]) => !log.has(n)).slice(0, SAMPLES);
  const step = Math.max(1, Math.floor(all.length / SAMPLES));
  let count = 0;
  for (const [n, since] of [...all.filter((_, index) => index % step === 0), ...lost]) {
    const { complete, events } = await broker.history(topic, keep, { since });
    if (!complete) continue;
    const rest = events.map(({ data }) => Number(data));
    const wanted = log.after(n);
    if (!log.has(n) || rest.length !== wanted.length || rest.some((m, at) => m !== wanted[at])) {
      count++;
    }
  }
  return count;
}
