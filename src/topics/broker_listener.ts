/**
 * A topic's ear on its broker: open while somebody here hears the topic.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import type { Broker, BrokerSink, BrokerSubscription, Position, Retention } from "../brokers/broker.ts";
import { then } from "../util/soon.ts";
import type { Soon } from "../util/soon.ts";

/** The ears of one server. */
export class Ears {
  /** Who brings events round. */
  readonly broker: Broker;
  readonly #logger: Logger;
  // Those that are being closed: the next of the same topic waits for its turn.
  readonly #closing = new Map<string, Promise<void>>();

  /** @param logger Where a failure is written that nobody waits for. */
  constructor(broker: Broker, logger: Logger) {
    this.broker = broker;
    this.#logger = logger;
  }

  /** Opens an ear on a topic. */
  open(topic: string, keep: Retention, sink: BrokerSink): Ear {
    const subscribe = (): Soon<BrokerSubscription> => this.broker.subscribe(topic, keep, ear);
    const ear = new Ear(sink);
    const closing = this.#closing.get(topic);
    try {
      ear.begin(closing === undefined ? subscribe() : closing.then(subscribe));
    } catch (error) {
      ear.begin(Promise.reject(error));
    }
    return ear;
  }

  /** Closes it, at once as far as its sink can tell. */
  close(topic: string, ear: Ear): void {
    const failed = (error: unknown): void => {
      this.#logger.warn(`Cannot unsubscribe from topic ${quoted(topic)}: ${describeError(error)}`);
    };
    try {
      const ending = ear.end();
      if (!(ending instanceof Promise)) return;
      const closing: Promise<void> = ending.catch(failed).then(() => {
        if (this.#closing.get(topic) === closing) this.#closing.delete(topic);
      });
      this.#closing.set(topic, closing);
    } catch (error) {
      failed(error);
    }
  }
}

/** One ear. */
export class Ear implements BrokerSink {
  /** Settles when events are heard. Rejects where the broker fails. */
  ready: Soon<Position> | undefined;
  readonly #sink: BrokerSink;
  #subscription: Soon<BrokerSubscription> | undefined;
  #open = true;

  /** @param sink Is passed what comes while the ear is open. */
  constructor(sink: BrokerSink) {
    this.#sink = sink;
  }

  /** Takes the broker's answer. */
  begin(subscription: Soon<BrokerSubscription>): void {
    this.#subscription = subscription;
    this.ready = then(subscription, ({ position }) => position);
    if (this.ready instanceof Promise) this.ready.catch(() => {}); // whoever waits for it sees it
  }

  event(event: Parameters<BrokerSink["event"]>[0]): void {
    if (this.#open) this.#sink.event(event);
  }

  gap(position: Position): void {
    if (this.#open) this.#sink.gap(position);
  }

  /** Hears nothing any more, and tells the broker. */
  end(): Soon<void> {
    this.#open = false;
    const subscription = this.#subscription;
    if (!(subscription instanceof Promise)) return subscription?.unsubscribe() as Soon<void>;
    // One that failed is open no more, and whoever waited for it has been told.
    return subscription.then((each) => each.unsubscribe(), () => {});
  }
}
