/**
 * What all connections of a server have, and those of a client do not: a page then loads no code for it.
 *
 * @module
 */

import type { BaseConnection, Connection } from "./connection.ts";
import { STATE, USER, USER_CHANGED } from "./internal.ts";

/** A connection of a server, as its members see it. */
interface ServerConnection extends BaseConnection {
  [USER]: unknown;
  /** Made on first use: most connections never need it. */
  [STATE]?: Record<string, unknown>;
  /** Called when the user has changed. */
  [USER_CHANGED]?(): void;
}

/**
 * Gives a class of connections the members of a server's. They are copied, not inherited: the sessions of both
 * sides have one base class.
 *
 * @param connection The class. It keeps members of its own.
 */
export function addServerMembers(connection: { readonly prototype: BaseConnection }): void {
  const { prototype } = connection;
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(MEMBERS))) {
    if (!Object.hasOwn(prototype, name)) {
      Object.defineProperty(prototype, name, { ...descriptor, enumerable: false });
    }
  }
}

/** The topics of a connection that is subscribed to none. */
export const NO_TOPICS: ReadonlySet<string> = new Set();

const MEMBERS:
  & Pick<Connection, "state" | "subscriptions" | "dropped" | "login" | "logout">
  & ThisType<ServerConnection> = {
    get state() {
      return this[STATE] ??= Object.create(null) as Record<string, unknown>;
    },
    get subscriptions() {
      return NO_TOPICS;
    },
    get dropped() {
      return 0;
    },
    login(user) {
      this[USER] = user;
      this[USER_CHANGED]?.();
    },
    logout() {
      this[USER] = null;
      this[USER_CHANGED]?.();
    },
  };
