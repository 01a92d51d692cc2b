/**
 * How a client stays logged in without code of the program's: on each new connection it logs in again
 * as the server has told it to, and it gives the server a new token before the old one expires.
 *
 * @module
 */

import type { Connection } from "../core/connection.ts";
import type { Method } from "../core/dispatcher.ts";
import { logFailure } from "../protocol/errors.ts";
import type { RpcError } from "../protocol/errors.ts";
import type { ClientHost } from "./host.ts";

// How often in a row a login may fail before it is forgotten: about a minute, if it fails at once.
const MAX_ATTEMPTS = 10;

/** The params of `rpc.login`. With neither member the client is to forget its login. */
interface LoginCall {
  /** The method to call. */
  readonly method: string;
  /** Its params, for all connections to come. Without them: the token of now, on this connection. */
  readonly params: unknown;
}

/**
 * Makes the client log in again before it runs the program's `prepare`. What logs in is kept in memory
 * alone, and only for a target that is always the same: another server must not get it.
 *
 * @param host The client. Its `prepare` is replaced.
 * @returns Handles `rpc.login`, with which the server says how to log in.
 */
export function keepLogin(host: ClientHost): Method {
  const { logger, transport: { name, isConnectionless }, token, prepare } = host;
  let login: LoginCall | undefined;
  let attempts = 0;
  // The calls of `token` that are under way.
  const answers = new WeakMap<Connection, Promise<string>>();
  host.prepare = async (connection) => {
    // What has failed so often would keep the client away for ever.
    if (attempts++ === MAX_ATTEMPTS) login = undefined;
    if (login) {
      const isKnown = await connection.call(login.method, login.params)
        .catch((error: RpcError) => {
          // A server without the method, or for other params, has no logins to go on with. Other
          // failures may pass.
          if (![-32601, -32602].includes(error.code)) throw error;
        });
      // The topics that need it then tell that they are lost.
      if (!isKnown) login = undefined;
    }
    attempts = 0;
    return isConnectionless || prepare?.(connection);
  };
  return {
    async invoke(params, { connection }) {
      const { method, params: kept } = (params ?? {}) as LoginCall;
      const canLogIn = typeof method === "string" && typeof kept === "object" && name;
      if (kept || !method) login = canLogIn ? params as LoginCall : undefined;
      else if (typeof token === "function") {
        try {
          // The function may ask a person, or use up a refresh token: one call answers all who ask meanwhile.
          const answer = answers.get(connection) ??
            Promise.resolve().then(token).finally(() => answers.delete(connection));
          answers.set(connection, answer);
          await connection.call(method, [await answer]);
        } catch (error) {
          logFailure(logger, "rpc.login", error);
        }
      }
    },
  };
}
