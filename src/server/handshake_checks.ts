/**
 * What happens before the first message: the same for a WebSocket and for each POST.
 *
 * @module
 */

import { describeError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { HandshakeCheck } from "../core/plugin.ts";
import type { Handshake } from "../core/connection.ts";

/** The one list of checks that guards both doors. */
export class HandshakeChecks {
  readonly #checks: HandshakeCheck[];
  readonly #logger: Logger;

  /**
   * @param first Runs before all others.
   * @param logger Where a check that fails is written.
   */
  constructor(first: HandshakeCheck, logger: Logger) {
    this.#checks = [first];
    this.#logger = logger;
  }

  /** Adds a check behind the others. */
  add(check: HandshakeCheck): void {
    this.#checks.push(check);
  }

  /**
   * Runs the checks in order, up to the first that refuses.
   *
   * @returns The refusal as it was given, for {@linkcode HandshakeChecks.answer}, or `undefined` where all let
   * the peer in; a promise only where one of them gave one.
   */
  run(handshake: Handshake, from = 0): Response | undefined | Promise<Response | undefined> {
    try {
      for (let index = from; index < this.#checks.length; index++) {
        const verdict = this.#checks[index]?.(handshake);
        if (isThenable(verdict)) return this.#wait(verdict, handshake, index + 1);
        if (verdict !== undefined) return verdict;
      }
      return undefined;
    } catch (error) {
      return this.refusal(error);
    }
  }

  async #wait(
    verdict: PromiseLike<Response | undefined | void>,
    handshake: Handshake,
    next: number,
  ): Promise<Response | undefined> {
    try {
      const refusal = await verdict;
      // Nothing lets in, and nothing else does: `false` is no Response, but no consent either.
      return await (refusal === undefined ? this.run(handshake, next) : refusal);
    } catch (error) {
      return this.refusal(error);
    }
  }

  /**
   * What is sent of a refusal. A check may give everybody one and the same response, whose body can
   * be sent once; and clones of clones, where nobody reads them, are a chain that some day breaks.
   */
  async answer(response: Response): Promise<Response> {
    try {
      if (typeof (response as Response | null)?.arrayBuffer !== "function") {
        throw new TypeError(`Expected a Response or nothing, got \`${response}\``);
      }
      let body = bodies.get(response);
      if (body === undefined) {
        body = response.body === null ? Promise.resolve(null) : response.arrayBuffer();
        bodies.set(response, body);
      }
      return new Response(await body, response);
    } catch (error) {
      return this.refusal(error);
    }
  }

  /** The answer to a peer whose check has thrown: what it threw, or 500, and a line in the log. */
  refusal(error: unknown): Response {
    if (error instanceof Response) return error;
    this.#logger.error(`A handshake function failed: ${describeError(error)}`);
    return new Response("Internal error", { status: 500 });
  }
}

// Of the responses that refused somebody: one may do so on several servers.
const bodies = new WeakMap<Response, Promise<ArrayBuffer | null>>();
