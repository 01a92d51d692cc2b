/**
 * Users in a file, who log in with a password: the successor of aiohttp-json-rpc's
 * `PasswdAuthBackend`. It has the same methods and reads the same files.
 *
 * Every connection may call `login`. Whoever is logged in may call `logout`, and `set_password` for
 * themselves, with the old password. To create or delete users, or to set the password of another,
 * a user needs the permission `create_user`, `delete_user` or `set_password`, or has to be a
 * superuser; only superusers may do it to superusers. (In aiohttp-json-rpc every user may do all of
 * it.) What needs a permission does not exist for those who lack it. Whoever has `set_password` can
 * log in as anybody but a superuser: give it with care.
 *
 * | method         | params                                   | answer                              |
 * | -------------- | ---------------------------------------- | ----------------------------------- |
 * | `login`        | `username`, `password`                   | whether they fit                    |
 * | `logout`       |                                          | `true`                              |
 * | `create_user`  | `username`, `password`                   | `false` where the name is taken     |
 * | `delete_user`  | `username`                               | `false` where there is no such user |
 * | `set_password` | `username`?, `password`, `old_password`? | `false` where one of them is wrong  |
 *
 * They need a connection that lasts: over HTTP POST they do not exist. Errors: `-32602` for what the
 * file cannot hold, `-32003` where a permission is missing, `-32005` with `data.retryAfterMs` after
 * too many wrong passwords, `-32009` while too many passwords wait to be checked.
 *
 * A change is felt at once, on all open connections of the user: who is deleted is logged out; a new
 * password logs out all connections but the one that set it; permissions that are taken away take
 * their subscriptions with them. A failed login leaves everything as it was.
 *
 * A line of the file is `name:hash:salt:rounds:permission,permission:pbkdf2-sha256:superuser`. The
 * last two fields are new. Files without them are read, and aiohttp-json-rpc reads files with them,
 * but drops them when it writes: superusers are then users. Hashes that are cheaper than `rounds`
 * are renewed when their user logs in. The file is written with mode 0600 and replaced as a whole;
 * several servers may share it, each looks at it whenever a password is checked and whenever
 * something is changed. Programs that write into the file in place, as aiohttp-json-rpc does, must
 * not do so while a server runs.
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
import { PasswdMethodSet } from "./methods.ts";
import type { PasswdUser } from "./methods.ts";
import { PasswordHasher } from "./hash.ts";
import { Throttle } from "./throttle.ts";

export type { PasswdRights } from "./accounts.ts";
export type { PasswdUser } from "./methods.ts";

/** How passwords are kept, and how guessing is slowed down. */
export interface PasswdOptions {
  /**
   * Iterations of PBKDF2-HMAC-SHA256 for new hashes, from 1,000: what each guess costs, and each
   * login. Fewer than the default only in tests.
   *
   * @default {600000}
   */
  readonly rounds?: number;
  /**
   * Passwords that are hashed at the same time, each on a thread of its own.
   *
   * @default {2}
   */
  readonly maxHashes?: number;
  /**
   * Passwords that wait to be hashed. A further one is answered with -32009.
   *
   * @default {64}
   */
  readonly maxWaiting?: number;
  /**
   * Wrong passwords that cost nothing, for one account from one address. It is five times as many
   * for all accounts from one address, and ten times as many for one account from all addresses;
   * the last does not hold for addresses from which the account was logged in before.
   *
   * @default {10}
   */
  readonly attempts?: number;
  /**
   * Milliseconds to wait after one wrong password more; each further doubles them.
   *
   * @default {1000}
   */
  readonly firstWaitMs?: number;
  /**
   * The longest such wait, in milliseconds. Each time it has passed, one wrong password is
   * forgotten.
   *
   * @default {900000}
   */
  readonly maxWaitMs?: number;
  /**
   * Tells the address of a peer. Behind a proxy all peers have that of the proxy: read the header
   * that it sets, and that it does not take over from the peer. Those that have no address count as
   * one.
   *
   * @default {handshake.remoteAddress}
   */
  readonly addressOf?: (handshake: Handshake) => string | undefined;
}

/** What clients may call. Each takes its params by position, too. */
export interface PasswdMethods {
  /** Answers whether they fit. */
  readonly login: (
    params: { username: string; password: string } | [username: string, password: string],
  ) => boolean;
  /** Answers `true`. */
  readonly logout: (params?: unknown) => boolean;
  /** Answers `false` where the name is taken. */
  readonly create_user: (
    params: { username: string; password: string } | [username: string, password: string],
  ) => boolean;
  /** Answers `false` where there is no such user. */
  readonly delete_user: (params: { username: string } | [username: string]) => boolean;
  /** Answers `false` where one of them is wrong. */
  readonly set_password: (
    params:
      | { username?: string; password: string; old_password?: string }
      | [username: string, password: string, oldPassword?: string],
  ) => boolean;
}

/** Users in a file, to be mounted on a server. */
export interface PasswdBackend extends Plugin<PasswdUser | null, PasswdMethods> {
  /**
   * Adds a user: the first one, for who else could create it?
   *
   * @param name From 1 to 255 characters: no `:`, no `#` in front, nothing that is not printable.
   * @param password At least one character.
   * @param rights What they may do: nothing, unless told. Permissions are as names are, without `,`.
   * @returns `false` where there is one of that name, and nothing was changed. Rejects with
   * {@linkcode RpcInvalidParamsError} where the file cannot hold it, with {@linkcode RpcServerError}
   * (-32009) while too many passwords wait to be hashed, and where the file cannot be read or
   * written. So do the others.
   */
  createUser(name: string, password: string, rights?: PasswdRights): Promise<boolean>;
  /**
   * Takes a user away, and logs all of their connections out.
   *
   * @returns `false` where there is none of that name.
   */
  deleteUser(name: string): Promise<boolean>;
  /**
   * Gives a user another password, and logs all of their connections out.
   *
   * @returns `false` where there is none of that name.
   */
  setPassword(name: string, password: string): Promise<boolean>;
  /**
   * Changes what a user may do, at once, on all of their connections.
   *
   * @param rights What is left out stays as it is.
   * @returns `false` where there is none of that name.
   */
  setPermissions(name: string, rights: PasswdRights): Promise<boolean>;
  /**
   * Looks whether somebody else has changed the file. Call it at the start, to learn of a line that
   * makes no sense before the first user does, and after you have edited the file.
   *
   * @returns Rejects where the file cannot be read, with the number of the line. The users are then
   * those of before.
   */
  reload(): Promise<void>;
}

/**
 * Makes a backend for users in a file.
 *
 * @param path The file. It may be missing, and is then made with the first user; its folder has to
 * be there, and to be writable, since the file is replaced as a whole.
 * @param options How passwords are kept, and how guessing is slowed down.
 * @returns What to pass to `rpc.use()`: from then on `request.user` is a {@linkcode PasswdUser} or
 * `null`.
 * @throws {TypeError} Where the path is empty.
 * @throws {RangeError} Where an option makes no sense.
 *
 * @example
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
 *   .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
 *
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 * const client = await connect(near);
 * const proof = { username: "ann", password: "correct horse" };
 * console.assert(await client.call("login", proof) === true);
 * console.assert(await client.call("whoami") === "ann");
 * await client.close();
 * await rm(folder, { recursive: true });
 * ```
 */
export function passwd(path: string | URL, options: PasswdOptions = {}): PasswdBackend {
  if (path === "") throw new TypeError("Cannot keep users: the path of the file is empty");
  const where = resolve(path instanceof URL ? fileURLToPath(path) : path);
  const { addressOf = ({ remoteAddress }) => remoteAddress } = options;
  const { maxHashes: concurrency, ...bounds } = resolvePasswdBounds(options);
  const file = new PasswdFile(where, () => live.refresh());
  const accounts = new Accounts(file, new PasswordHasher({ ...bounds, concurrency }));
  const live = new PasswdMethodSet({ accounts, throttle: new Throttle(bounds), addressOf });
  return {
    name: "passwd",
    methods: live.methods(),
    onUserChange: (connection) => live.userChanged(connection),
    onClose: (connection) => live.ended(connection),
    createUser: (name, password, rights = {}) => accounts.create(name, password, rights),
    deleteUser: (name) => accounts.delete(name),
    setPassword: (name, password) => accounts.setPassword(name, password),
    setPermissions: (name, rights) => accounts.setRights(name, rights),
    reload: () => accounts.reload(),
  };
}

type Bounds = Required<Omit<PasswdOptions, "addressOf">>;

const DEFAULTS: Bounds = Object.freeze({
  rounds: 600_000,
  maxHashes: 2,
  maxWaiting: 64,
  attempts: 10,
  firstWaitMs: 1000,
  maxWaitMs: 15 * 60_000,
});
const LEAST_ROUNDS = 1000;
const MOST = 2 ** 31 - 1;

function resolvePasswdBounds(options: PasswdOptions): Bounds {
  const bounds = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof Bounds)[]) {
    const value = options[name] ?? DEFAULTS[name];
    const least = name === "rounds" ? LEAST_ROUNDS : 1;
    if (!Number.isSafeInteger(value) || value < least || value > MOST) {
      throw new RangeError(
        `Expected \`${name}\` to be a whole number from ${least} to ${MOST}, got \`${value}\``,
      );
    }
    bounds[name] = value;
  }
  return bounds;
}
