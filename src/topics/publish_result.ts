/**
 * The result of publishing an event.
 *
 * @module
 */

import { positionText } from "../brokers/broker.ts";
import type { Position } from "../brokers/broker.ts";

/** What {@linkcode JsonRpc.publish} returns. */
export class PublishResult {
  /**
   * The number of connections of this process that the event went to before `publish` returned. It is 0
   * with a broker between processes, since events then come back from the broker later.
   */
  readonly deliveries: number;
  readonly #position: Position | Promise<Position>;

  /** Made by the server, not by users. */
  constructor(deliveries: number, position: Position | Promise<Position>) {
    this.deliveries = deliveries;
    this.#position = position;
  }

  /**
   * The position of the event in its topic, as subscribers get it: an opaque text. Rejects if the broker
   * did not accept the event. The server logs that too, so you need not read this.
   */
  get position(): Promise<string> {
    return Promise.resolve(this.#position).then(positionText);
  }
}
