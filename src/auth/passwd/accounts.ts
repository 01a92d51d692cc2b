/**
 * Creating, changing and deleting the users of a file, and checking their passwords. Knows nothing of
 * connections.
 *
 * @module
 */

import { RpcInvalidParamsError } from "../../protocol/errors.ts";
import type { PasswdFile } from "./file.ts";
import { checkNewName, checkPermission, normalName } from "./table.ts";
import type { PasswdRecord } from "./table.ts";
import { samePassword } from "./hash.ts";
import type { PasswordHasher } from "./hash.ts";

/** The rights of a user. */
export interface PasswdRights {
  /** Names of permissions: your own, and `create_user`, `delete_user` and `set_password`. */
  readonly permissions?: readonly string[] | ReadonlySet<string>;
  /** Whether the user has every permission. */
  readonly superuser?: boolean;
}

/** How a change of one user is checked and announced. */
export interface UpdateOptions {
  /**
   * Whether the user may be changed. Called before the password is hashed, and again before the file
   * is written, since a permission may be lost in between. May throw. @default {always `true`}
   */
  readonly permits?: (record: PasswdRecord) => boolean;
  /** Called when the file is written, before other connections of the user are logged out. */
  readonly written?: () => void;
}

/** The users of one file. */
export class Accounts {
  readonly #file: PasswdFile;
  readonly #hasher: PasswordHasher;

  /**
   * @param file The file.
   * @param hasher Hashes and checks passwords.
   */
  constructor(file: PasswdFile, hasher: PasswordHasher) {
    this.#file = file;
    this.#hasher = hasher;
  }

  /** The user of a name, as of the last look at the file. */
  get(name: string): PasswdRecord | undefined {
    return this.#file.table.get(name);
  }

  /** Reads the file again if another program has changed it. */
  async reload(): Promise<void> {
    await this.#file.read();
  }

  /**
   * Checks the password of a user.
   *
   * @param beforeHash Called just before the password is hashed, perhaps after a wait. If it throws,
   * the password is not checked. It may return a function, which is called if the password is wrong.
   * @returns The user if the password is right, else `undefined`. Rejects with what `beforeHash`
   * throws, and if the file cannot be read.
   */
  async verifyPassword(
    name: string,
    password: string,
    beforeHash: () => void | (() => void),
  ): Promise<PasswdRecord | undefined> {
    const table = await this.#file.read();
    const record = table.get(name);
    const right = await this.#hasher.verify(password, record, table.maxRounds, beforeHash);
    return right ? record : undefined;
  }

  /**
   * Hashes a password again if its hash has fewer rounds than new hashes get.
   *
   * @param verified The user whose password was just checked.
   * @param password That password.
   */
  async renew(verified: PasswdRecord, password: string): Promise<void> {
    if (!this.#hasher.isOutdated(verified)) return;
    // The salt stays: a new one means that the password has changed, which logs the user out.
    const hash = await this.#hasher.hash(password, verified.salt);
    await this.#file.update((table) => {
      const record = table.get(verified.name);
      if (record === undefined || !samePassword(record, verified)) return false;
      table.set({ ...record, ...hash });
      return true;
    });
  }

  /**
   * Adds a user.
   *
   * @param permits Throws if the user may no longer be added. Called before the file is written.
   * @returns `false` if the name is taken.
   */
  async create(
    name: string,
    password: string,
    { permissions = [], superuser = false }: PasswdRights,
    permits: () => void = () => {},
  ): Promise<boolean> {
    const rights = { permissions: checkAll(permissions), superuser };
    name = checkNewName(name);
    checkPassword(password);
    if ((await this.#file.read()).get(name) !== undefined) return false;
    const hash = await this.#hasher.hash(password);
    return await this.#file.update((table) => {
      permits();
      if (table.get(name) !== undefined) return false;
      table.set({ name, ...rights, ...hash });
      return true;
    });
  }

  /** Deletes a user. @returns `false` if there is no such user, or `permits` says no. */
  delete(name: string, { permits = always }: UpdateOptions = {}): Promise<boolean> {
    name = normalName(name);
    return this.#file.update((table) => {
      const record = table.get(name);
      return record !== undefined && permits(record) && table.delete(name);
    });
  }

  /** Changes a password. @returns `false` if there is no such user, or `permits` says no. */
  async setPassword(name: string, password: string, options: UpdateOptions = {}): Promise<boolean> {
    const { permits = always, written } = options;
    name = normalName(name);
    checkPassword(password);
    const known = (await this.#file.read()).get(name);
    if (known === undefined || !permits(known)) return false;
    const hash = await this.#hasher.hash(password);
    return await this.#file.update((table) => {
      const record = table.get(name);
      if (record === undefined || !permits(record)) return false;
      table.set({ ...record, ...hash });
      return true;
    }, written);
  }

  /** Changes the rights of a user. @returns `false` if there is no such user. */
  async setRights(name: string, rights: PasswdRights): Promise<boolean> {
    name = normalName(name);
    const permissions = rights.permissions && checkAll(rights.permissions);
    return await this.#file.update((table) => {
      const record = table.get(name);
      if (record === undefined) return false;
      const { superuser = record.superuser } = rights;
      table.set({ ...record, permissions: permissions ?? record.permissions, superuser });
      return true;
    });
  }
}

/** Whether two users have the same rights. */
export function sameRights(a: PasswdRecord, b: PasswdRecord): boolean {
  return a.superuser === b.superuser && a.permissions.size === b.permissions.size &&
    [...a.permissions].every((permission) => b.permissions.has(permission));
}

function always(): boolean {
  return true;
}

function checkAll(permissions: Iterable<string>): Set<string> {
  return new Set(Array.from(permissions, checkPermission));
}

function checkPassword(password: string): void {
  if (typeof password === "string" && password !== "" && password.isWellFormed()) return;
  const message = password === "" ? "The password is empty" : "The password is not valid text";
  throw new RpcInvalidParamsError({ message });
}
