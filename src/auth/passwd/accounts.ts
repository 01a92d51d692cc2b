/**
 * What can be done with the users of a file. Knows no connections.
 *
 * @module
 */

import { RpcInvalidParamsError } from "../../protocol/errors.ts";
import type { PasswdFile } from "./file.ts";
import { checkName, checkPermission } from "./table.ts";
import type { PasswdRecord } from "./table.ts";
import { samePassword } from "./hash.ts";
import type { PasswordHasher } from "./hash.ts";

/** What a user may do. */
export interface PasswdRights {
  /** Permissions by name: yours, and `create_user`, `delete_user` and `set_password`. */
  readonly permissions?: readonly string[] | ReadonlySet<string>;
  /** Whether they may do everything. */
  readonly superuser?: boolean;
}

/** Who has a say in a change. */
export interface UpdateOptions {
  /**
   * Whether the change may be made to a user: asked before the work and again before the file is
   * written. May throw. @default {every change}
   */
  readonly permits?: (record: PasswdRecord) => boolean;
  /** Called when the file is written, before anybody is told. */
  readonly written?: () => void;
}

/** The users of one file. */
export class Accounts {
  readonly #file: PasswdFile;
  readonly #hasher: PasswordHasher;

  /**
   * @param file Where they are kept.
   * @param hasher What hashes their passwords.
   */
  constructor(file: PasswdFile, hasher: PasswordHasher) {
    this.#file = file;
    this.#hasher = hasher;
  }

  /** The user of a name, as far as is known without looking at the file. */
  get(name: string): PasswdRecord | undefined {
    return this.#file.table.get(name);
  }

  /** Looks whether somebody else has changed the file. */
  async reload(): Promise<void> {
    await this.#file.read();
  }

  /**
   * Finds the user whose password it is.
   *
   * @param beginning Called when the turn has come; what it throws rejects, and nothing is checked.
   */
  async verifyPassword(
    name: string,
    password: string,
    beginning: () => void,
  ): Promise<PasswdRecord | undefined> {
    const table = await this.#file.read();
    const record = table.get(name);
    const right = await this.#hasher.verify(password, record, table.mostRounds, beginning);
    return right ? record : undefined;
  }

  /** Hashes a right password anew where its hash is cheaper than new ones are. */
  async renew(proven: PasswdRecord, password: string): Promise<void> {
    if (!this.#hasher.isOutdated(proven)) return;
    // A new salt would say that the password is another.
    const hash = await this.#hasher.hash(password, proven.salt);
    await this.#file.update((table) => {
      const record = table.get(proven.name);
      if (record === undefined || !samePassword(record, proven)) return false;
      table.set({ ...record, ...hash });
      return true;
    });
  }

  /** Adds a user; answers `false` where there is one of that name. */
  async create(
    name: string,
    password: string,
    { permissions = [], superuser = false }: PasswdRights,
    permits: () => void = () => {},
  ): Promise<boolean> {
    const rights = { permissions: checkAll(permissions), superuser };
    checkName(name);
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

  /** Takes a user away; answers `false` where there is none of that name. */
  delete(name: string, { permits = always }: UpdateOptions = {}): Promise<boolean> {
    return this.#file.update((table) => {
      const record = table.get(name);
      return record !== undefined && permits(record) && table.delete(name);
    });
  }

  /** Gives a user another password; answers `false` where there is none of that name. */
  async setPassword(name: string, password: string, consent: UpdateOptions = {}): Promise<boolean> {
    const { permits = always, written } = consent;
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

  /** Changes what a user may do; answers `false` where there is none of that name. */
  async setRights(name: string, rights: PasswdRights): Promise<boolean> {
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

/** Whether two users may do the same. */
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
  const message = password === "" ? "The password is empty" : "The password is no text";
  throw new RpcInvalidParamsError({ message });
}
