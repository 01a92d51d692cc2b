/**
 * Making a stream that other servers may want to make at the same time.
 *
 * A single NATS before 2.10.2 can then make it twice: both streams take the same messages and count
 * them differently, so that events are lost, or NATS ends. So each server that wants to make the
 * stream announces a random id. The server with the lowest id makes it, and the others find it.
 *
 * @see {@link https://github.com/nats-io/nats-server/pull/4013} and
 * {@link https://github.com/nats-io/nats-server/pull/4589}
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isAtLeast } from "./options.ts";

/** Something that must not be made twice. */
export interface CreateOnce<T> {
  /** The subject on which servers that want to make it announce their ids. */
  readonly subject: string;
  /** Looks for it. Resolves to `undefined` if nobody has made it yet. */
  find(): Promise<T | undefined>;
  /** Makes it. */
  make(): Promise<T>;
}

/**
 * Makes something that was not there a moment ago, or finds it if another server has made it meanwhile.
 *
 * @param connection The connection to NATS.
 * @param options What to make, how to find it, and where servers announce that they want to make it.
 * @returns What was found or made. Rejects with what `find` and `make` throw.
 */
export async function createOnce<T>(
  connection: NatsConnection,
  { subject, find, make }: CreateOnce<T>,
): Promise<T> {
  if (isAtLeast(connection.info?.version, [2, 10, 2])) return await make();
  const claim = new Claim(connection, subject);
  try {
    for (;;) {
      const isOurs = await claim.stands();
      const found = await find();
      if (found !== undefined) return found;
      if (isOurs) return await make();
    }
  } finally {
    claim.end();
  }
}

/** The wish of this server to make something, announced to the others. */
class Claim {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #subscription: { unsubscribe(): void };
  #id: string = crypto.randomUUID();
  #isLowest = true;

  constructor(connection: NatsConnection, subject: string) {
    this.#connection = connection;
    this.#subject = subject;
    this.#subscription = connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return; // a user without the right to subscribe gets no announcements
        const other = message.string();
        if (other < this.#id) this.#isLowest = false;
        // The other server came later and has missed the announcement of this one.
        else if (other > this.#id) this.#announce();
      },
    });
  }

  /** Announces the id. Resolves to whether no server with a lower id has announced itself in time. */
  async stands(): Promise<boolean> {
    this.#isLowest = true;
    await this.#connection.flush();
    this.#announce();
    await this.#pause();
    // After this, all announcements that were sent until now have arrived.
    await this.#connection.flush();
    // The empty id is the lowest: servers that come from now on wait until this claim has ended.
    if (this.#isLowest) this.#id = "";
    return this.#isLowest;
  }

  end(): void {
    this.#subscription.unsubscribe();
  }

  #announce(): void {
    this.#connection.publish(this.#subject, this.#id);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE_MS);
      this.#connection.closed().then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

// How long other servers have to announce themselves.
const PAUSE_MS = 200;
