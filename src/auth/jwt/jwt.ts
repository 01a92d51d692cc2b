/**
 * Users from JSON Web Tokens. Needs the package `jose`.
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

/** How {@linkcode jwt} behaves: keys, which tokens are good, and these. */
export interface JwtOptions<User extends object = JwtUser> extends JwtRules {
  /**
   * Makes the user of the claims of a good token; `null` refuses the token.
   *
   * @default {the claims as a JwtUser}
   */
  readonly toUser?: ToUser<User>;
  /**
   * Whether nobody gets in without a token: a POST, and any other request but an upgrade, is refused
   * with 401; a WebSocket can do nothing but call `login`, and is closed with 1008 unless it does so
   * in time. Whom a backend that was mounted before this one has let in needs no token.
   *
   * @default {false, who has none is nobody}
   */
  readonly required?: boolean;
  /**
   * Milliseconds in which a WebSocket has to log in where `required` is set.
   *
   * @default {10000}
   */
  readonly loginDeadlineMs?: number;
}

/** What a token's user is unless `toUser` makes another. */
export interface JwtUser {
  /** The token's `sub`. */
  readonly name: string;
  /** What `permissionRequired` asks for: the words of `scope`, and those listed in `permissions`. */
  readonly permissions: readonly string[];
  /** All that the token says. */
  readonly claims: JWTPayload;
}

/** What clients may call. */
export interface JwtMethods {
  /** Answers `true`; rejects where the token is refused. */
  readonly login: (params: { token: string } | [token: string]) => true;
}

/**
 * A backend for JSON Web Tokens. A peer proves who it is
 *
 * - with `Authorization: Bearer TOKEN`, on a POST or an upgrade to WebSocket,
 * - with the subprotocols `jsonrpc` and `bearer.TOKEN`, which is what a browser can send, and what
 *   the option `token` of a client does,
 * - or by calling `login` with `{ token }` on a WebSocket.
 *
 * A bad token is refused with 401, and by `login` with -32602; nothing of it is logged or said back.
 * When a token expires its WebSocket is closed with 4401, unless `login` has brought a new one
 * before. A `login` that fails leaves all as it was.
 *
 * @typeParam User What users are.
 * @param options Keys, and which tokens are good.
 * @throws {TypeError} Where keys, algorithms or names do not fit together.
 * @throws {RangeError} Where a number makes no sense, or a secret is too short.
 *
 * @example A secret that the issuer has too
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
  const stay = new TokenExpiry(required ? loginDeadlineMs : Infinity);

  async function handshake(handshake: Handshake): Promise<Response | undefined> {
    try {
      const token = bearerToken(handshake);
      if (token !== undefined) stay.admit(handshake, await verify(token));
    } catch (error) {
      if (error instanceof TokenError) return unauthorized(error);
      throw error;
    }
    // On a WebSocket the token may still come, with the first message.
    const mayStillCome = handshake.isUpgrade === true;
    return required && handshake.user === null && !mayStillCome ? unauthorized() : undefined;
  }

  async function login(params: unknown, { connection }: RpcRequest): Promise<true> {
    try {
      stay.login(connection, await verify(tokenIn(params)));
      return true;
    } catch (error) {
      if (!(error instanceof TokenError)) throw error;
      throw new RpcInvalidParamsError({ data: `Token refused: ${error.message}` });
    }
  }

  return {
    name: "jwt",
    handshake,
    // A guard: who may not stay sees nothing in any list either.
    middleware: guard(({ connection, name }) =>
      !stay.isOver(connection) && (!required || name === "login" || connection.user !== null)
    ),
    methods: { login: { handler: login, names: ["token"], socketOnly: true } },
    onOpen: (connection) => stay.begin(connection),
    onClose: (connection) => stay.end(connection),
    onUserChange(connection) {
      if (connection.user === null) stay.awaitLogin(connection);
    },
  };
}

/** How long each WebSocket may stay: until its token expires, or until it should have logged in. */
class TokenExpiry {
  readonly #loginDeadlineMs: number;
  readonly #arrivals = new WeakMap<Handshake, number>();
  readonly #expiries = new WeakMap<Connection, number>();
  readonly #timers = new ConnectionTimers();

  constructor(loginDeadlineMs: number) {
    this.#loginDeadlineMs = loginDeadlineMs;
  }

  admit(handshake: Handshake, { user, expiresAt }: Identity<object>): void {
    handshake.user = user;
    this.#arrivals.set(handshake, expiresAt);
  }

  begin(connection: Connection): void {
    const expiresAt = this.#arrivals.get(connection.handshake);
    if (expiresAt !== undefined) this.#until(expiresAt, connection);
    else if (connection.user === null) this.awaitLogin(connection);
  }

  login(connection: Connection, { user, expiresAt }: Identity<object>): void {
    if (!connection.isOpen) return;
    this.#until(expiresAt, connection);
    connection.login(user);
  }

  /** Begins the time in which a connection without a user has to get one. */
  awaitLogin(connection: Connection): void {
    if (!connection.isOpen) return;
    this.#expiries.delete(connection);
    this.#timers.set(connection, Date.now() + this.#loginDeadlineMs, () => {
      if (connection.user === null) connection.close(1008, "Login required");
    });
  }

  /** Whether the time is over, asked before each call: a timer may be late. */
  isOver(connection: Connection): boolean {
    const over = Date.now() >= (this.#expiries.get(connection) ?? Infinity);
    if (over) this.#expire(connection);
    return over;
  }

  end(connection: Connection): void {
    this.#timers.clear(connection);
  }

  #until(expiresAt: number, connection: Connection): void {
    this.#expiries.set(connection, expiresAt);
    this.#timers.set(connection, expiresAt, () => this.#expire(connection));
  }

  #expire(connection: Connection): void {
    if (!connection.isOpen) return;
    connection.close(4401, "Token expired");
    connection.logout(); // for handlers that still run
  }
}

function toJwtUser({ ...claims }: JWTPayload): JwtUser | null {
  const { sub: name, scope, permissions } = claims;
  if (typeof name !== "string" || name === "") return null;
  const words = typeof scope === "string" ? scope.split(" ") : scope;
  return { name, permissions: [...texts(words), ...texts(permissions)], claims };
}

function texts(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((each) => typeof each === "string" && each !== "");
}

function tokenIn(params: unknown): string {
  const { token } = params as { token?: unknown } | undefined ?? {};
  if (typeof token === "string") return token;
  throw new TokenError("expected { token }");
}
