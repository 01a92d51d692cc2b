/**
 * Why a caller was refused: for the log at debug level and, if the server has `explainRefusals`, for the
 * caller too. Without that, all refusals look like a method that does not exist.
 *
 * @module
 */

import { quoted, RpcMethodNotFoundError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import type { Connection } from "./connection.ts";
import { EXPLAINS } from "./internal.ts";

/** What was refused to whom. */
export interface Refused {
  /** The caller. */
  readonly connection: Connection;
  /** Whether it asked for a method or for a topic. */
  readonly kind: "method" | "topic";
  /** The name that it asked for. */
  readonly name: string;
}

/**
 * Logs a refusal, up to 20 in a second.
 *
 * @param refused What was refused to whom.
 * @param why The reason, for a person.
 */
export function logRefusal({ connection, kind, name }: Refused, why: string): void {
  const { logger, handshake: { remoteAddress = "a caller" }, user } = connection;
  // The console prints debug lines to everybody: there they are for those who have asked.
  if ((logger === console && !explains(connection)) || !mayLog(logger)) return;
  logger.debug(`Refused ${kind} ${quoted(name)} to ${remoteAddress}${userText(user)}: ${why}`);
}

/**
 * Logs a refusal, and makes the error for the caller.
 *
 * @param refused What was refused to whom.
 * @param why The reason, for a person.
 * @returns "Method not found"; its `data` is the reason only if the server has `explainRefusals`.
 */
export function refusal(refused: Refused, why: string): RpcMethodNotFoundError {
  logRefusal(refused, why);
  return explains(refused.connection)
    ? new RpcMethodNotFoundError({ data: why })
    : new RpcMethodNotFoundError();
}

/** Whether the server of a connection has the option `explainRefusals`. */
export function explains(connection: Connection): boolean {
  return (connection as { [EXPLAINS]?: boolean })[EXPLAINS] === true;
}

/** Bounds the lines of one log, so that a caller cannot fill it. */
function mayLog(logger: Logger): boolean {
  const now = performance.now();
  let budget = budgets.get(logger);
  if (budget === undefined || now > budget.endsAt) {
    const dropped = budget === undefined ? 0 : -Math.min(0, budget.left);
    if (dropped > 0) logger.debug(`${dropped} more refusals were not logged`);
    budgets.set(logger, budget = { endsAt: now + 1000, left: LINES_PER_SECOND });
  }
  return --budget.left >= 0;
}

interface Budget {
  readonly endsAt: number;
  left: number;
}

const LINES_PER_SECOND = 20;
const budgets = new WeakMap<Logger, Budget>();

function userText(user: unknown): string {
  if (user === null || user === undefined) return " without a user";
  const { name, username = name } = user as { name?: unknown; username?: unknown };
  return typeof username === "string" ? ` (user ${quoted(username)})` : " (a user)";
}
