/**
 * Changes that Django announces: a method that only a holder of its `SECRET_KEY` can call.
 *
 * @module
 */

import type { PluginMethod } from "../../core/plugin.ts";
import type { Handshake } from "../../core/connection.ts";
import type { RpcRequest } from "../../core/request.ts";
import { guard } from "../guards.ts";
import { readSigned } from "./signing.ts";
import type { SecretKey } from "./signing.ts";
import type { LoginWatcher } from "./watcher.ts";

/** What has changed. Without any of these, everything may have. */
interface Change {
  /** The primary key of the user whose account or rights have changed. */
  readonly user?: string;
  /** The cookie of a session that has changed. */
  readonly session?: string;
  /** The cookie of a session that is about to end. */
  readonly ended?: string;
}

/** Takes announcements of changes. */
export class Changes {
  readonly #keys: readonly SecretKey[];
  readonly #watcher: LoginWatcher;
  // Django announces a logout before it deletes the session. Until then its cookie still looks valid.
  readonly #ended = new Map<string, number>();

  /**
   * @param keys `SECRET_KEY` and its fallbacks.
   * @param watcher The connections that may be concerned.
   */
  constructor(keys: readonly SecretKey[], watcher: LoginWatcher) {
    this.#keys = keys;
    this.#watcher = watcher;
  }

  /** The method that Django calls, over POST. For everybody else it does not exist. */
  method(): PluginMethod {
    return {
      use: [guard(({ connection }) => this.#read(connection.handshake) !== undefined)],
      handler: (_params: unknown, { connection }: RpcRequest) =>
        this.#apply(this.#read(connection.handshake) ?? {}),
    };
  }

  /** Whether Django has just ended the session of a cookie. */
  hasEnded(cookie: string): boolean {
    const until = this.#ended.get(cookie);
    return until !== undefined && Date.now() < until;
  }

  async #apply({ user, session, ended }: Change): Promise<number> {
    if (ended !== undefined) {
      this.#remember(ended);
      return this.#watcher.end((login) => login.cookie === ended);
    }
    const all = user === undefined && session === undefined;
    return await this.#watcher.recheck((login) =>
      all || login.user.id === user || (login.cookie !== undefined && login.cookie === session)
    );
  }

  #remember(cookie: string): void {
    const now = Date.now();
    for (const [each, until] of this.#ended) if (until <= now) this.#ended.delete(each);
    this.#ended.set(cookie, now + ENDED_MS);
  }

  /** The announcement in a header: it is there before the call, so that a guard can ask for it. */
  #read({ headers }: Handshake): Change | undefined {
    const [, text] = /^Django (\S+)$/.exec(headers.get("authorization") ?? "") ?? [];
    if (text === undefined) return undefined;
    const value = readSigned(text, { keys: this.#keys, salt: SALT, maxAgeMs: MAX_AGE_MS });
    return isChange(value) ? value : undefined;
  }
}

/** The salt of announcements: says what a signed text is for. */
export const SALT = "x-jsonrpc.changed";

// How old an announcement may be. A repeated one does no harm: it only causes another look.
const MAX_AGE_MS = 60_000;
// Longer than Django can take from its signal to the deletion of the session.
const ENDED_MS = 60_000;

function isChange(value: unknown): value is Change {
  if (typeof value !== "object" || value === null) return false;
  const { user, session, ended } = value as Record<string, unknown>;
  return [user, session, ended].every((each) => each === undefined || typeof each === "string");
}
