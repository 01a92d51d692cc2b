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
  /** The server has the message already, but has not stored it yet. */
  beingPublished: 10158,
  /** The message may be stored all the same, on the servers that had it before. */
  storeFailed: 10077,
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

// Servers say so in the answer to a message for a stream that has no leader now, some without a code.
const UNAVAILABLE = 503;

/** Whether something failed because the server is out of reach, or cannot serve yet. */
export function isAway(error: unknown): boolean {
  if (error instanceof JetStreamApiError) {
    return error.status === UNAVAILABLE || ApiCode.notNow.includes(error.code);
  }
  return !isRefused(error);
}

/** Of a failure to publish: whether it is certain that the server has stored nothing. */
export function isUndone(error: unknown): boolean {
  if (error instanceof JetStreamApiError) {
    return error.code !== ApiCode.storeFailed && error.code !== ApiCode.beingPublished;
  }
  // No server takes messages for the stream now.
  return (error as Error).name === "JetStreamNotEnabled" || isRefused(error);
}

/** Whether JetStream has answered, and cannot serve yet: a stream that is full, or a disk. */
export function isRefusal(error: unknown): boolean {
  return error instanceof JetStreamApiError || (error as Error).name === "JetStreamNotEnabled";
}

function isRefused(error: unknown): boolean {
  const { name } = error as Error;
  return ["InvalidArgumentError", "InvalidSubjectError", "PermissionViolationError"].includes(name);
}
