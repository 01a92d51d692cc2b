/**
 * Guards: middleware that can also say whether a peer may know of a method or topic.
 *
 * @module
 */

import { describeError, quoted } from "../protocol/errors.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { Connection } from "./connection.ts";
import type { CallMiddleware, RpcRequest } from "./request.ts";

/** What a guard is asked. */
export interface GuardQuestion<User = unknown> {
  /** The user of the connection; `null` for nobody. */
  readonly user: User;
  /** The peer that asks. */
  readonly connection: Connection<User>;
  /** The method or the concrete topic in question. */
  readonly name: string;
  /** Which of the two. */
  readonly kind: "method" | "topic";
}

/**
 * A middleware that can also say whether a peer may know of a method or topic at all.
 *
 * @typeParam User What the user is known to be behind this guard.
 */
export interface Guard<User = unknown> {
  (request: RpcRequest, next: () => unknown): unknown;
  /** Answers `true` if the peer may know of it; everything else refuses. */
  readonly admits: (question: GuardQuestion) => unknown;
  /** Only a type: what the user is narrowed to. Never set. */
  readonly "~user"?: User;
}

/** The user behind guards: what each of them narrows the user to. */
export type UserBehind<User, Use extends readonly unknown[]> = Use extends
  readonly [infer First, ...infer Rest]
  ? UserBehind<First extends Guard<infer Narrow> ? User & Narrow : User, Rest>
  : User;

/**
 * Whether every guard among these layers admits. A guard that throws or is asynchronous does not.
 *
 * @param layers Middleware, among which are guards.
 * @param question Who asks, and for what.
 */
export function admitted(layers: readonly CallMiddleware[], question: GuardQuestion): boolean {
  for (const layer of layers) {
    if ("admits" in layer && !admits(layer as Guard, question)) return false;
  }
  return true;
}

function admits(guard: Guard, question: GuardQuestion): boolean {
  const { kind, name, connection: { logger } } = question;
  try {
    const answer = guard.admits(question);
    // The guard refuses below, so nobody handles this promise.
    if (isThenable(answer)) answer.then(undefined, () => {});
    if (typeof answer !== "boolean") {
      logger.error(`Guard of ${kind} ${quoted(name)} refused: it gave no boolean`);
    }
    return answer === true;
  } catch (error) {
    logger.error(`Guard of ${kind} ${quoted(name)} refused: it threw ${describeError(error)}`);
    return false;
  }
}
