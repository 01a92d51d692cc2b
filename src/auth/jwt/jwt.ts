/**
 * Users from JSON Web Tokens. Needs the package `jose`.
 *
 * A client proves who it is with its option `token`, or by calling `login` with `{ token }` on a
 * WebSocket. A bad token is refused with 401, and by `login` with -32602; nothing of a token is logged
 * or sent back. When a token expires, its connection is closed with 4401 unless `login` has brought a
 * new one before.
 *
 * ```ts ignore
 * import { JsonRpc, loginRequired } from "@x/jsonrpc";
 * import { jwt } from "@x/jsonrpc/jwt";
 *
 * const rpc = new JsonRpc()
 *   .use(jwt({ jwks: new URL("https://id.example/jwks.json"), algorithms: ["RS256"] }))
 *   .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
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
import type { Connection, Handshake } from "../../core/connection.ts";
import { ConnectionTimers } from "../connection_timers.ts";
import { bearerToken, TokenError, unauthorized } from "../bearer.ts";
import { guard } from "../guards.ts";
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
   * request except an upgrade, with 401. A WebSocket without a token can only call `login`, and the
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
 * contains any part of a token. When a token expires, the server closes the WebSocket with 4401,
 * unless `login` brought a new token before. A `login` that fails changes nothing.
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
 *   .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
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
 * console.assert(await client.call("whoami") === "ada");
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
    const mayLogIn = handshake.isUpgrade === true;
    return required && handshake.user === null && !mayLogIn ? unauthorized() : undefined;
  }

  async function login(params: unknown, { connection }: RpcRequest): Promise<true> {
    try {
      expiry.login(connection, await verify(tokenIn(params)));
      return true;
    } catch (error) {
      if (!(error instanceof TokenError)) throw error;
      throw new RpcInvalidParamsError({ data: `Token rejected: ${error.message}` });
    }
  }

  return {
    name: "jwt",
    handshake,
    // A guard and no plain middleware, so that the lists of methods and topics are empty as well.
    middleware: guard(({ connection, name }) =>
      !expiry.isExpired(connection) && (!required || name === "login" || connection.user !== null)
    ),
    methods: { login: { handler: login, names: ["token"], socketOnly: true } },
    onOpen: (connection) => expiry.opened(connection),
    onClose: (connection) => expiry.closed(connection),
    onUserChange(connection) {
      if (connection.user === null) expiry.awaitLogin(connection);
    },
  };
}

/** Closes connections when their token expires, or when they have not logged in in time. */
class TokenExpiry {
  readonly #loginDeadlineMs: number;
  readonly #handshakes = new WeakMap<Handshake, number>();
  readonly #connections = new WeakMap<Connection, number>();
  readonly #timers = new ConnectionTimers();

  /** @param loginDeadlineMs Milliseconds that a connection without a user has to log in. */
  constructor(loginDeadlineMs: number) {
    this.#loginDeadlineMs = loginDeadlineMs;
  }

  /** Sets the user of a handshake, and notes when the token expires. */
  authenticate(handshake: Handshake, { user, expiresAt }: Identity<object>): void {
    handshake.user = user;
    this.#handshakes.set(handshake, expiresAt);
  }

  /** Starts the timer of a connection that has opened. */
  opened(connection: Connection): void {
    const expiresAt = this.#handshakes.get(connection.handshake);
    if (expiresAt !== undefined) this.#expireAt(expiresAt, connection);
    else if (connection.user === null) this.awaitLogin(connection);
  }

  /** Sets the user of an open connection; the new token's expiry replaces that of the old one. */
  login(connection: Connection, { user, expiresAt }: Identity<object>): void {
    if (!connection.isOpen) return;
    this.#expireAt(expiresAt, connection);
    connection.login(user);
  }

  /** Starts the time that a connection without a user has to log in. */
  awaitLogin(connection: Connection): void {
    if (!connection.isOpen) return;
    this.#connections.delete(connection);
    this.#timers.set(connection, Date.now() + this.#loginDeadlineMs, () => {
      if (connection.user === null) connection.close(1008, "Login required");
    });
  }

  /** Whether the token has expired. Asked before each call, since a timer may fire late. */
  isExpired(connection: Connection): boolean {
    const expired = Date.now() >= (this.#connections.get(connection) ?? Infinity);
    if (expired) this.#expire(connection);
    return expired;
  }

  /** Removes the timer of a connection that has ended. */
  closed(connection: Connection): void {
    this.#timers.clear(connection);
  }

  #expireAt(expiresAt: number, connection: Connection): void {
    this.#connections.set(connection, expiresAt);
    this.#timers.set(connection, expiresAt, () => this.#expire(connection));
  }

  #expire(connection: Connection): void {
    if (!connection.isOpen) return;
    connection.close(4401, "Token expired");
    connection.logout(); // handlers that still run must not act for the user
  }
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
