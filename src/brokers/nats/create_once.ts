/**
 * Making a stream that others may want to make at the same time.
 *
 * A single NATS before 2.10.2 can then make it twice: both take the same messages and count them
 * differently, so that events are lost, or the server ends. Of those who want to make it only the one
 * with the lowest id does, and the others find it.
 *
 * @see {@link https://github.com/nats-io/nats-server/pull/4013} and
 * {@link https://github.com/nats-io/nats-server/pull/4589}
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isAtLeast } from "./options.ts";

/** What is to be there once. */
export interface CreateOnce<T> {
  /** The subject on which those who want to make it find out about each other. */
  readonly subject: string;
  /** What is there; `undefined` where nothing is. */
  find(): Promise<T | undefined>;
  /** Makes it. */
  make(): Promise<T>;
}

/** Makes what was not there a moment ago, or finds what somebody else has made meanwhile. */
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

/** One of those who want to make something. */
class Claim {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #ear: { unsubscribe(): void };
  #id: string = crypto.randomUUID();
  #isLowest = true;

  constructor(connection: NatsConnection, subject: string) {
    this.#connection = connection;
    this.#subject = subject;
    this.#ear = connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return; // a user who may not do this does without
        const other = message.string();
        if (other < this.#id) this.#isLowest = false;
        // It has come later, and would not know.
        else if (other > this.#id) this.#say();
      },
    });
  }

  /** Says that it is there, and answers whether nobody who was there in time comes before it. */
  async stands(): Promise<boolean> {
    this.#isLowest = true;
    await this.#connection.flush();
    this.#say();
    await this.#pause();
    // All that was said until now has come.
    await this.#connection.flush();
    // Whoever comes from now on waits until this one has ended.
    if (this.#isLowest) this.#id = "";
    return this.#isLowest;
  }

  end(): void {
    this.#ear.unsubscribe();
  }

  #say(): void {
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

// How long others have to answer.
const PAUSE_MS = 200;
