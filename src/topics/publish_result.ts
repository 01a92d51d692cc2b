/**
 * What became of an event that was published.
 *
 * @module
 */

import { positionText } from "../brokers/broker.ts";
import type { Position } from "../brokers/broker.ts";

/** What {@linkcode JsonRpc.notify} did. */
export class PublishResult {
  /**
   * To how many connections of this process the event went before `notify` returned. With a broker
   * between processes that is none: its events come back from the engine.
   */
  readonly deliveries: number;
  readonly #position: Position | Promise<Position>;

  /** Made by the server, not by users. */
  constructor(deliveries: number, position: Position | Promise<Position>) {
    this.deliveries = deliveries;
    this.#position = position;
  }

  /**
   * Where the event stands in its topic: an opaque text, the same that subscribers get. Rejects
   * where the broker's engine did not take the event; that is in the log too, so that nobody has to
   * look here.
   */
  get position(): Promise<string> {
    return Promise.resolve(this.#position).then(positionText);
  }
}
