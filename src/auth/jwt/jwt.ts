/**
 * Users from JSON Web Tokens. Needs the package `jose`.
 *
 * A client proves who it is with its option `token`, or by calling `login` with `{ token }` on a
 * WebSocket. A bad token is refused with 401, and by `login` with -32602; nothing of a token is logged
 * or sent back. Before a token expires, the server asks the client for a new one; a client whose option
 * `token` is a function answers by itself, on the open connection. Without a new token the connection is
 * closed with 4401.
 *
 * ```ts ignore
 * import { JsonRpc, loginRequired } from "@x/jsonrpc";
 * import { jwt } from "@x/jsonrpc/jwt";
 *
 * const rpc = new JsonRpc()
 *   .use(jwt({ jwks: new URL("https://id.example/jwks.json"), algorithms: ["RS256"] }))
 *   .method("greet", { use: [loginRequired] }, ([word]: [string], { user }) => `${word} ${user.name}`);
 *
 * const client = await connect(url, { token: () => freshToken() });
 * ```
 *
 * @module
 */

import type { JWTPayload } from "jose";
import { RpcInvalidParamsError } from "../../protocol/errors.ts";
import type { Plugin } from "../../core/plugin.ts";
import type { RpcRequest } from "../../core/request.ts";
import type { Handshake } from "../../core/connection.ts";
import { bearerToken, TokenError, unauthorized } from "../bearer.ts";
import { guard, loginRequired } from "../guards.ts";
import { textsToBoolean } from "../method_documents.ts";
import { RENEW, TokenExpiry } from "./expiry.ts";
import { createVerifier } from "./verify.ts";
import type { Identity, JwtRules, ToUser } from "./verify.ts";
import { checkMs } from "../../util/check_option.ts";

export type { JwtKeys } from "./keys.ts";
export type { JwtRules, ToUser } from "./verify.ts";

/** Options of {@linkcode jwt}: the keys, which tokens are accepted, and the ones listed here. */
export interface JwtOptions<User extends object = JwtUser> extends JwtRules {
  /**
   * Makes a user from the claims of a valid token; `null` rejects the token.
   *
   * @default {makes a JwtUser}
   */
  readonly toUser?: ToUser<User>;
  /**
   * Whether every peer needs a token. If so, the server answers a POST without one, and any other
   * request except an upgrade, with 401; only the page of `inspector()`, which holds no data, is shown without
   * a token. A WebSocket without a token can only call `login`, and the
   * server closes it with 1008 if it does not do so in time. A peer that already has a user, from a
   * backend that was mounted before this one, needs no token.
   *
   * @default {false, a peer without a token has the user null}
   */
  readonly required?: boolean;
  /**
   * Milliseconds that a WebSocket has to log in if `required` is set.
   *
   * @default {10000}
   */
  readonly loginDeadlineMs?: number;
}

/** The user of a token, unless `toUser` makes another. */
export interface JwtUser {
  /** The token's `sub`. */
  readonly name: string;
  /** What `permissionRequired` reads: the words of `scope`, and the entries of `permissions`. */
  readonly permissions: readonly string[];
  /** All claims of the token. */
  readonly claims: JWTPayload;
}

/** The methods that clients may call. */
export interface JwtMethods {
  /** Sets the user of the connection. Answers `true`, or fails if the token is rejected. */
  readonly login: (params: { token: string } | [token: string]) => true;
  /**
   * Replaces the token of the connection by a new one of the same user. Answers `true`, or fails if the
   * token is rejected; the old one then goes on. Clients of this module call it by themselves.
   */
  readonly renew_token: (params: { token: string } | [token: string]) => true;
}

/**
 * A backend for JSON Web Tokens. A peer sends its token
 *
 * - in `Authorization: Bearer TOKEN`, with a POST or an upgrade to WebSocket,
 * - in the subprotocols `jsonrpc` and `bearer.TOKEN`, which browsers can send and the option `token`
 *   of a client does send,
 * - or by calling `login` with `{ token }` on a WebSocket.
 *
 * The server answers a bad token with 401, and `login` answers it with -32602. No log and no answer
 * contains any part of a token. A `login` that fails changes nothing.
 *
 * Before the token of a WebSocket expires, the server asks its client for a new one, and a client whose
 * option `token` is a function calls `renew_token` with it. The server accepts only a token with the same
 * `iss` and `sub`. When a token expires, the server closes the WebSocket with 4401.
 *
 * @typeParam User The type of users.
 * @param options The keys, and which tokens are accepted.
 * @returns The backend, to be passed to `rpc.use()`: from then on `request.user` is a user of a token
 * or `null`.
 * @throws {TypeError} If keys and algorithms do not fit together, or a name is empty.
 * @throws {RangeError} If a number is out of bounds, or a secret is too short.
 * @see {@link https://www.rfc-editor.org/rfc/rfc8725 | RFC 8725, best practices for JWT}
 *
 * @example A secret that the issuer shares
 * ```ts
 * import { SignJWT } from "jose";
 * import { connect, JsonRpc, loginRequired } from "@x/jsonrpc";
 * import { jwt } from "@x/jsonrpc/jwt";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const secret = crypto.getRandomValues(new Uint8Array(32));
 * const rpc = new JsonRpc()
 *   .use(jwt({ secret, algorithms: ["HS256"], issuer: "https://id.example" }))
 *   .method("greet", { use: [loginRequired] }, ([word]: [string], { user }) => `${word} ${user.name}`);
 *
 * const token = await new SignJWT({ sub: "ada", iss: "https://id.example" })
 *   .setProtectedHeader({ alg: "HS256" })
 *   .setExpirationTime("1h")
 *   .sign(secret);
 *
 * const [near, far] = linkedSockets(); // in a program: `connect(url, { token })`
 * rpc.attach(far);
 * const client = await connect(near);
 * await client.call("login", { token });
 * console.assert(await client.call("greet", ["Hello"]) === "Hello ada");
 * await client.close();
 * ```
 *
 * @example The keys of an identity provider
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { jwt } from "@x/jsonrpc/jwt";
 *
 * const rpc = new JsonRpc().use(jwt({
 *   jwks: new URL("https://id.example/.well-known/jwks.json"),
 *   algorithms: ["RS256"],
 *   issuer: "https://id.example",
 *   audience: "https://rpc.example",
 *   required: true,
 *   toUser: ({ sub, tenant }) => typeof tenant === "string" ? { name: sub, tenant } : null,
 * }));
 * ```
 */
export function jwt<User extends object = JwtUser>(
  options: JwtOptions<User>,
): Plugin<User | null, JwtMethods> {
  const { required = false } = options;
  const loginDeadlineMs = checkMs("loginDeadlineMs", options.loginDeadlineMs ?? 10_000, 1);
  const verify = createVerifier(options, options.toUser ?? toJwtUser as ToUser<User>);
  const expiry = new TokenExpiry(required ? loginDeadlineMs : Infinity);

  async function handshake(handshake: Handshake): Promise<Response | undefined> {
    try {
      const token = bearerToken(handshake);
      if (token !== undefined) expiry.authenticate(handshake, await verify(token));
    } catch (error) {
      if (error instanceof TokenError) return unauthorized(error);
      throw error;
    }
    // A WebSocket may still send its token, with the first message.
    if (!required || handshake.user !== null || handshake.isUpgrade) return undefined;
    // A browser cannot open a page with a token, and the inspector is where people enter theirs.
    if (!handshake.hasPage) return unauthorized();
    handshake.pageOnly = true;
    return undefined;
  }

  async function login(params: unknown, { connection }: RpcRequest): Promise<true> {
    return await withToken(params, (identity) => expiry.login(connection, identity));
  }

  async function renew(params: unknown, { connection }: RpcRequest): Promise<true> {
    return await withToken(params, (identity) => expiry.renew(connection, identity));
  }

  async function withToken(
    params: unknown,
    use: (identity: Identity<User>) => void,
  ): Promise<true> {
    try {
      use(await verify(tokenIn(params)));
      return true;
    } catch (error) {
      if (!(error instanceof TokenError)) throw error;
      const why = `Token rejected: ${error.message}`;
      throw new RpcInvalidParamsError({ message: why, data: why });
    }
  }

  return {
    name: "jwt",
    handshake,
    // A guard and no plain middleware, so that the lists of methods and topics are empty as well.
    middleware: guard(({ connection, name }) =>
      !expiry.isExpired(connection) && (!required || name === "login" || connection.user !== null)
    ),
    methods: {
      login: {
        handler: login,
        names: ["token"],
        document: textsToBoolean("Logs this connection in with a JSON Web Token", ["token"]),
        socketOnly: true,
      },
      [RENEW]: {
        handler: renew,
        names: ["token"],
        document: textsToBoolean("Replaces the token of this connection by a newer one", ["token"]),
        use: [loginRequired],
        socketOnly: true,
      },
    },
    onOpen: (connection) => expiry.opened(connection),
    onClose: (connection) => expiry.closed(connection),
    onUserChange(connection) {
      if (connection.user === null) expiry.awaitLogin(connection);
    },
  };
}

function toJwtUser({ ...claims }: JWTPayload): JwtUser | null {
  const { sub: name, scope, permissions } = claims;
  if (typeof name !== "string" || name === "") return null;
  const words = typeof scope === "string" ? scope.split(" ") : scope;
  return { name, permissions: [...stringsIn(words), ...stringsIn(permissions)], claims };
}

function stringsIn(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((each) => typeof each === "string" && each !== "");
}

function tokenIn(params: unknown): string {
  const { token } = params as { token?: unknown } | undefined ?? {};
  if (typeof token === "string") return token;
  throw new TokenError("expected params { token }");
}
