/**
 * A broker that answers late, as one behind a network does, and fails if a test makes it.
 */
import type {
  Broker,
  BrokerEvent,
  BrokerHistory,
  BrokerSink,
  BrokerSubscription,
  HistoryQuery,
  Position,
  Retention,
} from "../../../src/brokers/broker.ts";
import { memoryBroker } from "../../../src/brokers/memory.ts";

/** How a {@linkcode LateBroker} waits: for the next turn, unless a test says otherwise. */
export type Delay = (what: "publish" | "subscribe" | "unsubscribe" | "history") => Promise<unknown>;

/** Answers after a delay; events reach each sink after a further delay, in order. */
export class LateBroker implements Broker {
  /** Requests to the engine, in order: `subscribe a`, `unsubscribe a`. */
  readonly asked: string[] = [];
  /** Sinks that receive events now. */
  readonly sinks = new Set<BrokerSink>();
  /** Delays each answer. */
  delay: Delay;
  /** Delays each event on its way to a sink. */
  onTheWay: () => Promise<unknown>;
  /** How often history is to say that the store does not have the event that is asked from. */
  forgetful = 0;
  #engine = memoryBroker();

  constructor(delay: Delay = turn, onTheWay: () => Promise<unknown> = turn) {
    this.delay = delay;
    this.onTheWay = onTheWay;
  }

  async publish(topic: string, data: string, keep: Retention): Promise<Position> {
    await this.delay("publish");
    return this.#engine.publish(topic, data, keep);
  }

  async subscribe(topic: string, keep: Retention, sink: BrokerSink): Promise<BrokerSubscription> {
    this.asked.push(`subscribe ${topic}`);
    await this.delay("subscribe");
    const late = new LateSink(sink, () => this.onTheWay());
    this.sinks.add(late);
    const subscription = this.#engine.subscribe(topic, keep, late) as BrokerSubscription;
    await turn();
    return {
      position: subscription.position,
      unsubscribe: async () => {
        this.asked.push(`unsubscribe ${topic}`);
        late.end();
        this.sinks.delete(late);
        await this.delay("unsubscribe");
        await subscription.unsubscribe();
      },
    };
  }

  async history(topic: string, keep: Retention, query: HistoryQuery): Promise<BrokerHistory> {
    await this.delay("history");
    const history = await this.#engine.history(topic, keep, query);
    await turn();
    if (query.since === undefined || this.forgetful === 0) return history;
    this.forgetful--;
    return { ...history, events: [], complete: false, replaced: true };
  }

  close(): void {
    for (const sink of this.sinks) (sink as LateSink).end();
    this.sinks.clear();
  }

  /** Loses the data of the engine: every topic starts again, and each sink gets a gap. */
  loseAll(position: Position): void {
    this.#engine = memoryBroker();
    for (const sink of this.sinks) sink.gap(position);
  }
}

class LateSink implements BrokerSink {
  readonly #sink: BrokerSink;
  readonly #onTheWay: () => Promise<unknown>;
  #last: Promise<unknown> = Promise.resolve();
  #open = true;

  constructor(sink: BrokerSink, onTheWay: () => Promise<unknown>) {
    this.#sink = sink;
    this.#onTheWay = onTheWay;
  }

  event(event: BrokerEvent): void {
    this.#later(() => this.#sink.event(event));
  }

  gap(position: Position): void {
    this.#later(() => this.#sink.gap(position));
  }

  end(): void {
    this.#open = false;
  }

  #later(run: () => void): void {
    const before = this.#last;
    const way = this.#onTheWay();
    this.#last = before.then(() => way).then(() => this.#open && run());
  }
}

/** Waits for the next turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
