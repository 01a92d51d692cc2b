/**
 * The error codes of JetStream's API that the broker knows.
 *
 * @see {@link https://github.com/nats-io/nats-server/blob/main/server/errors.json}
 *
 * @module
 */

import { JetStreamApiError } from "@nats-io/jetstream";

/** Codes by what they mean. */
export const ApiCode = {
  noMessageFound: 10037,
  streamExists: 10058,
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  /**
   * The server cannot serve now, or has lost its data: no suitable peers (a cluster that is still
   * forming), not available, no leader, insufficient resources, not found, and the like.
   */
  notNow: [10005, 10008, 10009, 10014, 10023, 10059, 10074, 10118] as readonly number[],
} as const;

/** What a request returns; `undefined` if the server answers with this error. */
export async function unless<T>(code: number, request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === code) return undefined;
    throw error;
  }
}
