/**
 * The checks that run before the first message: the same for a WebSocket and for each HTTP request.
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";
import type { HandshakeCheck } from "../core/plugin.ts";
import { describeError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "../util/maybe_promise.ts";

/** The one list of checks that every peer has to pass. */
export class HandshakeChecks {
  // Replaced as a whole: a handshake that is under way must skip none if one is removed.
  #checks: readonly HandshakeCheck[];
  readonly #logger: Logger;
  // What answers the peers whose checks take time. Not a promise that all of these wait for: it would keep each
  // of them for as long as the server lives.
  readonly #waiting = new Set<(refusal: Response) => void>();

  /**
   * @param first The check that runs before all others.
   * @param logger Where a check that fails is written.
   */
  constructor(first: HandshakeCheck, logger: Logger) {
    this.#checks = [first];
    this.#logger = logger;
  }

  /** Adds a check behind the others. */
  add(check: HandshakeCheck): void {
    this.#checks = [...this.#checks, check];
  }

  /** Removes a check that was added last. */
  remove(check: HandshakeCheck): void {
    this.#checks = this.#checks.toSpliced(this.#checks.lastIndexOf(check), 1);
  }

  /**
   * Runs the checks in order, up to the first that refuses.
   *
   * @param handshake What is known of the peer.
   * @returns The refusal as the check gave it, for {@linkcode HandshakeChecks.answer}; `undefined` if
   * all accept; a promise only if a check gave one.
   */
  run(handshake: Handshake): Response | undefined | Promise<Response | undefined> {
    const verdict = this.#run(handshake, this.#checks, 0);
    return isThenable(verdict) ? this.#untilClosed(verdict) : verdict;
  }

  /**
   * Refuses the peers whose checks have not ended: a check that never does would hold up the end of the server.
   *
   * @param refusal Makes the refusal of one peer.
   */
  close(refusal: () => Response): void {
    for (const refuse of this.#waiting) refuse(refusal());
  }

  async #untilClosed(verdict: Promise<Response | undefined>): Promise<Response | undefined> {
    const { promise, resolve } = Promise.withResolvers<Response | undefined>();
    this.#waiting.add(resolve);
    verdict.then(resolve);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(resolve);
    }
  }

  #run(
    handshake: Handshake,
    checks: readonly HandshakeCheck[],
    from: number,
  ): Response | undefined | Promise<Response | undefined> {
    try {
      for (let index = from; index < checks.length; index++) {
        const verdict = checks[index]?.(handshake, this.#logger);
        if (isThenable(verdict)) {
          return this.#wait(verdict, () => this.#run(handshake, checks, index + 1));
        }
        if (isRefusal(verdict)) return verdict;
      }
      return undefined;
    } catch (error) {
      return this.refusal(error);
    }
  }

  async #wait(
    verdict: PromiseLike<Response | undefined | void>,
    next: () => Response | undefined | Promise<Response | undefined>,
  ): Promise<Response | undefined> {
    try {
      const refusal = await verdict;
      return await (isRefusal(refusal) ? refusal : next());
    } catch (error) {
      return this.refusal(error);
    }
  }

  /**
   * Makes the response that is sent for a refusal: a copy, since a check may give the same response
   * to every peer, and a body can be sent only once. The body is read once and kept: clones of clones
   * that nobody reads are a chain that grows until it breaks.
   *
   * @param response The refusal, as a check gave it.
   * @returns The response to send; 500 if the check gave no response or a used one.
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

  /**
   * Makes the refusal of a check that threw.
   *
   * @param error What it threw.
   * @returns That, if it is a response; else 500, and the error is logged.
   */
  refusal(error: unknown): Response {
    if (error instanceof Response) return error;
    this.#logger.error(`A handshake check failed: ${describeError(error)}`);
    return new Response("Internal error", { status: 500 });
  }
}

/** Only `undefined` accepts: `false` and `null` are no Response, and `answer` makes a 500 of them. */
function isRefusal(verdict: Response | undefined | void): verdict is Response {
  return verdict !== undefined;
}

// The bodies of refusals. Shared by all servers: one response may refuse peers of several.
const bodies = new WeakMap<Response, Promise<ArrayBuffer | null>>();
