/**
 * Users in a file, who log in with a password: the successor of aiohttp-json-rpc's
 * `PasswdAuthBackend`. It has the same methods and reads the same files.
 *
 * Every connection may call `login`. A user who is logged in may call `logout`, and `set_password`
 * for the own account, with the old password. A user needs the permission `create_user`,
 * `delete_user` or `set_password` to create users, to delete them, or to set the password of another
 * user; superusers need none, and only superusers may do it to superusers. (In aiohttp-json-rpc every
 * user may do all of it.) For a caller who lacks a permission the method does not exist. A user with
 * `set_password`, or with both `create_user` and `delete_user`, can log in as every user who is not a
 * superuser, under a new password: give them with care.
 *
 * | method         | params                                   | answer                                 |
 * | -------------- | ---------------------------------------- | -------------------------------------- |
 * | `login`        | `username`, `password`                   | whether the password is right          |
 * | `logout`       |                                          | `true`                                 |
 * | `create_user`  | `username`, `password`                   | `false` if the name is taken           |
 * | `delete_user`  | `username`                               | `false` if there is no such user       |
 * | `set_password` | `username`?, `password`, `old_password`? | `false` if the user or `old_password` is wrong |
 *
 * They need a WebSocket: over HTTP POST these methods do not exist. With the option `basic`, each
 * request may name its user by HTTP Basic, and all but `login`, `logout` and those of tokens exist over
 * POST, too. Errors: -32602 if the file cannot
 * hold a name or password, -32003 if a permission is missing, -32005 with `data.retryAfterMs` after
 * too many wrong passwords, -32009 while too many passwords wait to be checked.
 *
 * A change takes effect at once on all open connections of the user. A deleted user is logged out. A
 * new password logs out all connections but the one that has set it. A permission that is taken away
 * ends the subscriptions that need it. A failed login changes nothing.
 *
 * A line of the file is `name:hash:salt:rounds:permission,permission:pbkdf2-sha256:superuser`. The
 * last two fields are new. Files without them are read, and aiohttp-json-rpc reads files with them,
 * but drops them when it writes: superusers lose that right. A hash with fewer rounds than `rounds`
 * is renewed when its user logs in. The file has mode 0600 and is replaced as a whole. Several servers
 * may share it: each reads it again, if it has changed, whenever it checks a password or changes
 * something. Programs that write into the file in place, as aiohttp-json-rpc does, must not do so
 * while a server runs.
 *
 * @module
 */

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "../../core/plugin.ts";
import type { Handshake } from "../../core/connection.ts";
import { Accounts } from "./accounts.ts";
import type { PasswdRights } from "./accounts.ts";
import { PasswdFile } from "./file.ts";
import { LoginTokens } from "./login_tokens.ts";
import type { LoginTokenOptions } from "./login_tokens.ts";
import type { BasicOptions } from "./basic.ts";
import { documented } from "../method_documents.ts";
import { PasswdLogins } from "./methods.ts";
import type { PasswdUser } from "./methods.ts";
import { PasswordHasher } from "./hash.ts";
import { Throttle } from "./throttle.ts";
import { checkMs, checkWhole } from "../../util/check_option.ts";

export type { PasswdRights } from "./accounts.ts";
export type { BasicOptions } from "./basic.ts";
export type { LoginTokenOptions } from "./login_tokens.ts";
export type { PasswdUser } from "./methods.ts";

/** Options of {@linkcode passwd}: how passwords are hashed, and how guessing is slowed down. */
export interface PasswdOptions {
  /**
   * Iterations of PBKDF2-HMAC-SHA256 for new hashes, at least 1,000: the cost of each guess, and of
   * each login. Use fewer than the default only in tests.
   *
   * @default {600000}
   */
  readonly rounds?: number;
  /**
   * How many passwords are hashed at the same time, each on its own thread.
   *
   * @default {2}
   */
  readonly maxHashes?: number;
  /**
   * How many passwords may wait to be hashed. The server answers a further one with -32009.
   *
   * @default {64}
   */
  readonly maxWaiting?: number;
  /**
   * Wrong passwords until a login has to wait, for one account from one address; five times as many for all
   * accounts from one address, and ten times as many for one account from all addresses. The last
   * count is ignored for addresses from which the account has logged in before.
   *
   * @default {10}
   */
  readonly attempts?: number;
  /**
   * Milliseconds to wait after that many wrong passwords. Each further one doubles the wait.
   *
   * @default {1000}
   */
  readonly firstWaitMs?: number;
  /**
   * The longest wait, in milliseconds. Each time it has passed, one wrong password is forgotten.
   *
   * @default {900000}
   */
  readonly maxWaitMs?: number;
  /**
   * Gives the address of a peer, for the throttle and the log. Behind a proxy that the server's option
   * `trustedProxies` does not name, every peer has the address of the proxy. If the proxy sets another
   * header, read that, and make sure that it overwrites the one that a peer sends. All peers without an
   * address count as one.
   *
   * @default {handshake.remoteAddress}
   */
  readonly addressOf?: (handshake: Handshake) => string | undefined;
  /**
   * Gives each client that logs in a token, with which it logs in again by itself after a reconnect,
   * also to a server that has restarted. A token ends after a while, with `logout`, with a new
   * password, and with the account. For clients that others wrote, `login_token` gives a token too, and
   * `login_with_token` logs in with it.
   *
   * @default {no tokens}
   */
  readonly tokens?: LoginTokenOptions;
  /**
   * Accepts HTTP Basic: the user of a POST, a GET, an event stream or a WebSocket is the one whose name
   * and password stand in its header `Authorization`. A wrong password is refused with 401, too many
   * with 429, each counted as those of `login` are. A request without the header has no user. Use it
   * over TLS only: the header is not encrypted. Over POST there are then also `create_user`,
   * `delete_user` and `set_password`.
   *
   * @default {false}
   * @see {@link https://www.rfc-editor.org/rfc/rfc7617 | RFC 7617}
   */
  readonly basic?: boolean | BasicOptions;
}

/** The methods that clients may call. Each takes its params by name or by position. */
export interface PasswdMethods {
  /** Answers whether the password is right. */
  readonly login: (
    params: { username: string; password: string } | [username: string, password: string],
  ) => boolean;
  /** Removes the user of the connection. Answers `true`. */
  readonly logout: (params?: unknown) => boolean;
  /** Adds a user. Answers `false` if the name is taken. */
  readonly create_user: (
    params: { username: string; password: string } | [username: string, password: string],
  ) => boolean;
  /** Deletes a user. Answers `false` if there is no such user. */
  readonly delete_user: (params: { username: string } | [username: string]) => boolean;
  /** Changes a password. Answers `false` if the user or the old password is wrong. */
  readonly set_password: (
    params:
      | { username?: string; password: string; old_password?: string }
      | [username: string, password: string, oldPassword?: string],
  ) => boolean;
}

/** What clients may call beside {@linkcode PasswdMethods} if the option `tokens` is set. */
export interface PasswdTokenMethods {
  /** Gives a token for `login_with_token`; `null` for a user of another backend. */
  readonly login_token: (params?: unknown) => string | null;
  /** Sets the user of the connection. Answers whether the token is valid. */
  readonly login_with_token: (params: { token: string } | [token: string]) => boolean;
}

/**
 * A backend for users in a file, to be mounted with `rpc.use()`.
 *
 * @typeParam Methods What clients may call because of it.
 */
export interface PasswdBackend<Methods extends PasswdMethods = PasswdMethods>
  extends Plugin<PasswdUser | null, Methods> {
  /**
   * Adds a user. Use it for the first user: `create_user` needs one who may call it.
   *
   * @param name 1 to 255 visible characters, without `:`, without `#` at the start, and without spaces
   * at the ends. Names are kept and compared in the Unicode form NFKC.
   * @param password At least one character.
   * @param rights The user's permissions, named as users are but without `,`. @default {none}
   * @returns `false` if the name is taken. Rejects with {@linkcode RpcInvalidParamsError} if the file
   * cannot hold the user, with {@linkcode RpcServerError} (-32009) while too many passwords wait to be
   * hashed, and if the file cannot be read or written. The other functions reject likewise.
   */
  createUser(name: string, password: string, rights?: PasswdRights): Promise<boolean>;
  /**
   * Deletes a user, and logs all of the user's connections out.
   *
   * @param name The user's name.
   * @returns `false` if there is no such user.
   */
  deleteUser(name: string): Promise<boolean>;
  /**
   * Changes the password of a user, and logs all of the user's connections out.
   *
   * @param name The user's name.
   * @param password The new password.
   * @returns `false` if there is no such user.
   */
  setPassword(name: string, password: string): Promise<boolean>;
  /**
   * Changes the rights of a user, at once, on all of the user's connections.
   *
   * @param name The user's name.
   * @param rights The new rights. A member that is left out stays as it is.
   * @returns `false` if there is no such user.
   */
  setPermissions(name: string, rights: PasswdRights): Promise<boolean>;
  /**
   * Reads the file again if another program has changed it. Call it when the server starts, to find
   * a bad line before the first user does, and after you have edited the file.
   *
   * @returns Rejects if the file cannot be read, with the number of the bad line. The users of before
   * stay then.
   */
  reload(): Promise<void>;
}

/**
 * Makes a backend for users in a file.
 *
 * @param path The file. If it is missing, it is made with the first user. Its folder must exist and
 * be writable, since the file is replaced as a whole.
 * @param options How passwords are hashed, and how guessing is slowed down.
 * @returns The backend, to be passed to `rpc.use()`: from then on `request.user` is a
 * {@linkcode PasswdUser} or `null`.
 * @throws {TypeError} If the path is empty.
 * @throws {RangeError} If an option is out of bounds.
 *
 * @example A user logs in
 * ```ts
 * import { connect, JsonRpc, loginRequired } from "@x/jsonrpc";
 * import { passwd } from "@x/jsonrpc/passwd";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 * import { mkdtemp, rm } from "node:fs/promises";
 *
 * const folder = await mkdtemp("/tmp/users-");
 * const users = passwd(`${folder}/users.txt`);
 * await users.createUser("ann", "correct horse", { permissions: ["create_user"] });
 *
 * const rpc = new JsonRpc()
 *   .use(users)
 *   .method("greet", { use: [loginRequired] }, ([word]: [string], { user }) => `${word} ${user.name}`);
 *
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 * const client = await connect(near);
 * const credentials = { username: "ann", password: "correct horse" };
 * console.assert(await client.call("login", credentials) === true);
 * console.assert(await client.call("greet", ["Hello"]) === "Hello ann");
 * await client.close();
 * await rm(folder, { recursive: true });
 * ```
 */
export function passwd(
  path: string | URL,
  options: PasswdOptions & { readonly tokens: LoginTokenOptions },
): PasswdBackend<PasswdMethods & PasswdTokenMethods>;
export function passwd(path: string | URL, options?: PasswdOptions): PasswdBackend;
export function passwd(path: string | URL, options: PasswdOptions = {}): PasswdBackend {
  if (path === "") {
    throw new TypeError("Expected the path of the file of users, got an empty string");
  }
  const fullPath = resolve(path instanceof URL ? fileURLToPath(path) : path);
  const { addressOf = ({ remoteAddress }) => remoteAddress } = options;
  const { maxHashes: concurrency, ...bounds } = resolvePasswdBounds(options);
  const hasher = new PasswordHasher({ ...bounds, concurrency });
  const file = new PasswdFile(fullPath, () => logins.refresh());
  const accounts = new Accounts(file, hasher);
  const tokens = options.tokens && loginTokens(options.tokens);
  const basic = basicOptions(options.basic);
  const throttle = new Throttle(bounds);
  const logins = new PasswdLogins({ accounts, throttle, tokens, basic, addressOf });
  return {
    name: "passwd",
    methods: documented(logins.methods()),
    ...basic && { handshake: (peer, logger) => logins.authenticate(peer, logger) },
    onOpen: (connection) => logins.opened(connection),
    onUserChange: (connection) => logins.userChanged(connection),
    onClose: (connection) => logins.closed(connection),
    createUser: (name, password, rights = {}) => accounts.create(name, password, rights),
    deleteUser: (name) => accounts.delete(name),
    setPassword: (name, password) => accounts.setPassword(name, password),
    setPermissions: (name, rights) => accounts.setRights(name, rights),
    reload: () => accounts.reload(),
  };
}

type Bounds = Required<Omit<PasswdOptions, "addressOf" | "tokens" | "basic">>;

const DEFAULTS: Bounds = Object.freeze({
  rounds: 600_000,
  maxHashes: 2,
  maxWaiting: 64,
  attempts: 10,
  firstWaitMs: 1000,
  maxWaitMs: 15 * 60_000,
});
const MIN_ROUNDS = 1000;
const MIN_SECRET = 32;
const DAY_MS = 24 * 60 * 60_000;
const MAX = 2 ** 31 - 1;

function basicOptions(basic: PasswdOptions["basic"] = false): Required<BasicOptions> | undefined {
  if (basic === false) return undefined;
  const { realm = "JSON-RPC", cacheMs = 60_000 } = basic === true ? {} : basic;
  // It stands between quotes in a header.
  if (typeof realm !== "string" || !/^[\x20-\x7e]*$/.test(realm) || /["\\]/.test(realm)) {
    throw new TypeError(
      `Expected \`basic.realm\` to be ASCII text without quotes and backslashes, got \`${realm}\``,
    );
  }
  return { realm, cacheMs: checkMs("basic.cacheMs", cacheMs, 0) };
}

function loginTokens({ secret, maxAgeMs = DAY_MS }: LoginTokenOptions): LoginTokens {
  const length = typeof secret === "string"
    ? new TextEncoder().encode(secret).length
    : secret?.length;
  if (!(length >= MIN_SECRET)) {
    throw new RangeError(
      `Expected \`tokens.secret\` to have at least ${MIN_SECRET} bytes, got ${length ?? 0}`,
    );
  }
  return new LoginTokens({ secret, maxAgeMs: checkMs("tokens.maxAgeMs", maxAgeMs, 1) });
}

function resolvePasswdBounds(options: PasswdOptions): Bounds {
  const bounds = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof Bounds)[]) {
    const least = name === "rounds" ? MIN_ROUNDS : 1;
    bounds[name] = checkWhole(name, options[name] ?? DEFAULTS[name], least, MAX);
  }
  return bounds;
}
