/**
 * Guards: middleware that also decides which methods and topics a peer may see.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import { LogLimit } from "../util/log_limit.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { Connection } from "./connection.ts";
import type { CallMiddleware, RpcRequest } from "./request.ts";

/** The question that a guard answers: may this peer use this method or topic? */
export interface GuardQuestion<User = unknown> {
  /** The user of the connection; `null` if there is none. */
  readonly user: User;
  /** The peer that wants to use it. */
  readonly connection: Connection<User>;
  /** The name of the method, or of the concrete topic. */
  readonly name: string;
  /** Whether `name` is a method or a topic. */
  readonly kind: "method" | "topic";
}

/**
 * A middleware that also decides whether a peer may see a method or topic. For a peer that it does not
 * admit, the method or topic does not exist. Make one with `guard`.
 *
 * @typeParam User What the user is known to be behind this guard.
 */
export interface Guard<User = unknown> {
  (request: RpcRequest, next: () => unknown): unknown;
  /** Returns `true` if the peer may use it; anything else refuses. */
  readonly admits: (question: GuardQuestion) => unknown;
  /** What the guard is called in explanations of a refusal. */
  readonly label?: string;
  /** The type of the user behind this guard. Only a type; it is never set. */
  readonly "~user"?: User;
}

/** The user behind guards: what each of them narrows the user to. */
export type UserBehind<User, Use extends readonly unknown[]> = Narrowed<User, Use> extends infer U
  ? [U] extends [never] ? NoUsers<"mount a backend first, such as passwd(), jwt() or session()"> : U
  : never;

type Narrowed<User, Use extends readonly unknown[]> = Use extends
  readonly [infer First, ...infer Rest]
  ? Narrowed<First extends Guard<infer Narrow> ? User & Narrow : User, Rest>
  : User;

/** The user behind a guard on a server that knows no users: `Advice` is for people. */
export interface NoUsers<Advice extends string> {
  /** Never set. */
  readonly "~advice": Advice;
}

/**
 * Asks all guards among some layers. A guard that throws, or returns a promise, refuses.
 *
 * @param layers Middleware, some of which are guards.
 * @param question Which peer wants to use what.
 * @returns Whether all guards admit the peer.
 */
export function admitted(layers: readonly CallMiddleware[], question: GuardQuestion): boolean {
  return refusingGuard(layers, question) === undefined;
}

/**
 * Asks all guards among some layers until one refuses.
 *
 * @param layers Middleware, some of which are guards.
 * @param question Which peer wants to use what.
 * @returns The guard that refuses the peer; `undefined` if all admit it.
 */
export function refusingGuard(
  layers: readonly CallMiddleware[],
  question: GuardQuestion,
): Guard | undefined {
  for (const layer of layers) {
    if ("admits" in layer && !admits(layer as Guard, question)) return layer as Guard;
  }
  return undefined;
}

/** Says which guard refuses, for explanations of a refusal. */
export function guardText({ label = "without a name" }: Pick<Guard, "label">): string {
  return `the guard ${label} refuses it`;
}

function admits(guard: Guard, question: GuardQuestion): boolean {
  const { kind, name, connection: { logger } } = question;
  try {
    const answer = guard.admits(question);
    // The guard refuses below, so its promise is not awaited; a rejection must not end the process.
    if (isThenable(answer)) answer.then(undefined, () => {});
    if (typeof answer !== "boolean") {
      log(
        guard,
        logger,
        () =>
          `Guard of ${kind} ${quoted(name)} refused: expected true or false, got ${typeOf(answer)}`,
      );
    }
    return answer === true;
  } catch (error) {
    log(
      guard,
      logger,
      () => `Guard of ${kind} ${quoted(name)} refused because it threw: ${describeError(error)}`,
    );
    return false;
  }
}

/** Logs a failure of a guard, unless it has just failed: one call may ask it for a thousand topics. */
function log(guard: Guard, logger: Logger, text: () => string): void {
  let limit = limits.get(logger);
  if (limit === undefined) limits.set(logger, limit = new LogLimit());
  limit.write(guard, (suffix) => logger.error(`${text()}${suffix}`));
}

const limits = new WeakMap<Logger, LogLimit>();

function typeOf(value: unknown): string {
  return isThenable(value) ? "a promise" : value === null ? "null" : typeof value;
}
