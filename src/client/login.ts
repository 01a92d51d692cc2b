/**
 * How a client stays logged in without code of the program's: on each new connection it logs in again
 * as the server has told it to, and it gives the server a new token before the old one expires.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { logFailure } from "../protocol/errors.ts";
import type { RpcError } from "../protocol/errors.ts";
import type { ClientHost } from "./host.ts";

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
  host.prepare = async (connection) => {
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
    return isConnectionless || prepare?.(connection);
  };
  return {
    async invoke(params, { connection }) {
      const { method, params: kept } = params as LoginCall;
      if (kept || !method) login = (kept && name && params) as LoginCall | undefined;
      else if (typeof token === "function") {
        try {
          await connection.call(method, [await token()]);
        } catch (error) {
          logFailure(logger, "rpc.login", error);
        }
      }
    },
  };
}
