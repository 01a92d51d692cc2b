/**
 * Listens to one topic at the broker, as long as the topic has subscribers in this process.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import type {
  Broker,
  BrokerEvent,
  BrokerSink,
  BrokerSubscription,
  Position,
  Retention,
} from "../brokers/broker.ts";
import { isThenable, mapMaybe } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";

/** The listeners of one server. */
export class BrokerListeners {
  /** The broker that brings the events. */
  readonly broker: Broker;
  readonly #logger: Logger;
  // Listeners that are being closed. The next listener of the same topic waits until that is done, so
  // that the broker does not end the new subscription together with the old one.
  readonly #closing = new Map<string, Promise<void>>();

  /**
   * @param broker The broker that brings the events.
   * @param logger The log for failures to unsubscribe.
   */
  constructor(broker: Broker, logger: Logger) {
    this.broker = broker;
    this.#logger = logger;
  }

  /** Starts to listen to a topic; passes its events to `sink`. */
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

  /** Stops listening. The sink gets nothing from now on, whenever the broker is done. */
  close(topic: string, listener: BrokerListener): void {
    const failed = (error: unknown): void => {
      this.#logger.warn(`Cannot unsubscribe from topic ${quoted(topic)}: ${describeError(error)}`);
    };
    try {
      const ending = listener.end();
      if (!isThenable(ending)) return;
      const closing: Promise<void> = Promise.resolve(ending).catch(failed).then(() => {
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
  /** Fulfilled when events arrive, with the position they come after. Rejects if the broker fails. */
  ready: MaybePromise<Position> | undefined;
  readonly #sink: BrokerSink;
  #subscription: MaybePromise<BrokerSubscription> | undefined;
  #open = true;

  /** @param sink Gets what arrives while the listener is open. */
  constructor(sink: BrokerSink) {
    this.#sink = sink;
  }

  /** Takes the broker's answer. */
  begin(subscription: MaybePromise<BrokerSubscription>): void {
    this.#subscription = subscription;
    this.ready = mapMaybe(subscription, ({ position }) => position);
    // Each caller of `ready` handles a rejection; without callers it must not end the process.
    if (this.ready instanceof Promise) this.ready.catch(() => {});
  }

  event(event: BrokerEvent): void {
    if (this.#open) this.#sink.event(event);
  }

  gap(position: Position): void {
    if (this.#open) this.#sink.gap(position);
  }

  /** Stops listening, and unsubscribes at the broker. */
  end(): MaybePromise<void> {
    this.#open = false;
    // A subscription that failed needs no unsubscribing; `ready` has reported the failure.
    const subscription = this.#subscription;
    if (subscription === undefined) return undefined;
    if (!isThenable(subscription)) return subscription.unsubscribe();
    return Promise.resolve(subscription).then((each) => each.unsubscribe(), () => {});
  }
}
