/**
 * A topic's listener on its broker: open while somebody here hears the topic.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import type {
  Broker,
  BrokerSink,
  BrokerSubscription,
  Position,
  Retention,
} from "../brokers/broker.ts";
import { mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";

/** The listeners of one server. */
export class BrokerListeners {
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

  /** Opens an listener on a topic. */
  open(topic: string, keep: Retention, sink: BrokerSink): BrokerListener {
    const subscribe = (): MaybePromise<BrokerSubscription> =>
      this.broker.subscribe(topic, keep, listener);
    const listener = new BrokerListener(sink);
    const closing = this.#closing.get(topic);
    try {
      listener.begin(closing === undefined ? subscribe() : closing.then(subscribe));
    } catch (error) {
      listener.begin(Promise.reject(error));
    }
    return listener;
  }

  /** Closes it, at once as far as its sink can tell. */
  close(topic: string, listener: BrokerListener): void {
    const failed = (error: unknown): void => {
      this.#logger.warn(`Cannot unsubscribe from topic ${quoted(topic)}: ${describeError(error)}`);
    };
    try {
      const ending = listener.end();
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

/** One listener. */
export class BrokerListener implements BrokerSink {
  /** Settles when events are heard. Rejects where the broker fails. */
  ready: MaybePromise<Position> | undefined;
  readonly #sink: BrokerSink;
  #subscription: MaybePromise<BrokerSubscription> | undefined;
  #open = true;

  /** @param sink Is passed what comes while the listener is open. */
  constructor(sink: BrokerSink) {
    this.#sink = sink;
  }

  /** Takes the broker's answer. */
  begin(subscription: MaybePromise<BrokerSubscription>): void {
    this.#subscription = subscription;
    this.ready = mapMaybe(subscription, ({ position }) => position);
    if (this.ready instanceof Promise) this.ready.catch(() => {}); // whoever waits for it sees it
  }

  event(event: Parameters<BrokerSink["event"]>[0]): void {
    if (this.#open) this.#sink.event(event);
  }

  gap(position: Position): void {
    if (this.#open) this.#sink.gap(position);
  }

  /** Hears nothing any more, and tells the broker. */
  end(): MaybePromise<void> {
    this.#open = false;
    const subscription = this.#subscription;
    if (!(subscription instanceof Promise)) {
      return subscription?.unsubscribe() as MaybePromise<void>;
    }
    // One that failed is open no more, and whoever waited for it has been told.
    return subscription.then((each) => each.unsubscribe(), () => {});
  }
}
