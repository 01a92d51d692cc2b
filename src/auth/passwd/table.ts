/**
 * Users as lines of text: the format of aiohttp-json-rpc's `PasswdAuthBackend`, with room for more.
 *
 *     name:hash:salt:rounds:permission,permission:algorithm:superuser
 *
 * Hash and salt are hexadecimal. The last two fields are not in the ancestor's files and may be
 * missing: the algorithm is then, as always so far, `pbkdf2-sha256`. The ancestor reads lines that
 * have them, and drops them when it writes. Empty lines and those that start with `#` are kept.
 *
 * @module
 */

import { RpcInvalidParamsError } from "../../protocol/errors.ts";
import { HASH_BYTES } from "./hash.ts";
import type { PasswordHash } from "./hash.ts";

/** One user, as the file has them. */
export interface PasswdRecord extends PasswordHash {
  /** Whom it is about. */
  readonly name: string;
  /** What they may do. */
  readonly permissions: ReadonlySet<string>;
  /** Whether they may do everything. */
  readonly superuser: boolean;
}

/** The users of one file, and its remarks, in their order. */
export class PasswdTable {
  // A line that is no user is kept under its number: no name is a number.
  readonly #lines: Map<string | number, PasswdRecord | string>;

  /** @param lines Those of another table. */
  constructor(lines: PasswdTable["lines"] = new Map()) {
    this.#lines = new Map(lines);
  }

  /**
   * Reads a text.
   *
   * @throws {SyntaxError} Where a line makes no sense; the message has its number.
   */
  static parse(text: string): PasswdTable {
    const table = new PasswdTable();
    const lines = text.split(/\r\n|\r|\n/);
    if (lines.at(-1) === "") lines.pop();
    lines.forEach((line, index) => {
      try {
        table.#add(line, index);
      } catch (error) {
        throw new SyntaxError(`line ${index + 1}: ${(error as Error).message}`);
      }
    });
    return table;
  }

  /** Users by name, and other lines by number. */
  get lines(): ReadonlyMap<string | number, PasswdRecord | string> {
    return this.#lines;
  }

  /** The highest cost of a hash. */
  get mostRounds(): number {
    let most = 0;
    for (const line of this.#lines.values()) {
      if (typeof line !== "string") most = Math.max(most, line.rounds);
    }
    return most;
  }

  /** The user of a name. */
  get(name: string): PasswdRecord | undefined {
    return this.#lines.get(name) as PasswdRecord | undefined;
  }

  /** Adds a user, or puts them in the place of the one of that name. */
  set(record: PasswdRecord): void {
    this.#lines.set(record.name, record);
  }

  /** Takes a user away. Answers whether there was one. */
  delete(name: string): boolean {
    return this.#lines.delete(name);
  }

  /** The text of all. */
  toString(): string {
    return Array.from(this.#lines.values(), (line) => `${toLine(line)}\n`).join("");
  }

  #add(line: string, number: number): void {
    if (line.includes("\ufffd")) throw new SyntaxError("expected UTF-8");
    const remark = line.trim() === "" || line.startsWith("#");
    const entry = remark ? line : parseRecord(line);
    const key = typeof entry === "string" ? number : entry.name;
    if (this.#lines.has(key)) throw new SyntaxError("the name is there twice");
    this.#lines.set(key, entry);
  }
}

/**
 * Checks what a new user shall be called.
 *
 * @throws {RpcInvalidParamsError} Where a line of the file cannot hold it.
 */
export function checkName(name: string): string {
  checkWord(name, "name", /:/);
  if (name.startsWith("#")) throw unfit("name", "starts with `#`");
  return name;
}

/**
 * Checks a permission.
 *
 * @throws {RpcInvalidParamsError} Where a line of the file cannot hold it.
 */
export function checkPermission(permission: string): string {
  return checkWord(permission, "permission", /[:,]/);
}

/** The most characters that a name or a permission may have. */
export const MAX_LENGTH = 255;

const ALGORITHM = "pbkdf2-sha256";
const SUPERUSER = "superuser";
const MAX_ROUNDS = 2 ** 31 - 1;
// Controls, line breaks of all kinds, halves of characters, and what a decoder drops or puts in.
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\ufeff\ufffd]/u;

function checkWord(word: string, what: string, separator: RegExp): string {
  if (typeof word !== "string") throw unfit(what, `is a ${typeof word}`);
  if (word === "") throw unfit(what, "is empty");
  if (word.length > MAX_LENGTH) throw unfit(what, `has over ${MAX_LENGTH} characters`);
  const [character] = separator.exec(word) ?? [];
  if (character !== undefined) throw unfit(what, `contains \`${character}\``);
  if (UNPRINTABLE.test(word)) throw unfit(what, "contains a character that is not printable");
  return word;
}

function unfit(what: string, why: string): RpcInvalidParamsError {
  return new RpcInvalidParamsError({ message: `The ${what} ${why}` });
}

function parseRecord(line: string): PasswdRecord {
  const fields = line.split(":");
  if (fields.length < 5 || fields.length > 7) {
    throw new SyntaxError(`expected 5 to 7 fields with colons between, got ${fields.length}`);
  }
  const [name = "", hash = "", salt = "", rounds = "", permissions = ""] = fields;
  const [algorithm = ALGORITHM, flag = ""] = fields.slice(5);
  if (algorithm !== ALGORITHM) throw new SyntaxError(`expected the algorithm ${ALGORITHM}`);
  if (flag !== "" && flag !== SUPERUSER) {
    throw new SyntaxError(`expected "${SUPERUSER}" or nothing`);
  }
  return {
    name: checkName(name),
    hash: parseHex(hash, "hash", HASH_BYTES),
    salt: parseHex(salt, "salt"),
    rounds: parseRounds(rounds),
    permissions: new Set(permissions.split(",").filter((each) => each !== "").map(checkPermission)),
    superuser: flag === SUPERUSER,
  };
}

function parseHex(text: string, what: string, length = text.length / 2): Uint8Array<ArrayBuffer> {
  if (!/^(?:[0-9a-f]{2})+$/i.test(text) || text.length !== 2 * length) {
    throw new SyntaxError(`expected the ${what} in hexadecimal`);
  }
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

function parseRounds(text: string): number {
  const rounds = /^\d+$/.test(text) ? Number(text) : 0;
  if (rounds >= 1 && rounds <= MAX_ROUNDS) return rounds;
  throw new SyntaxError(`expected the rounds from 1 to ${MAX_ROUNDS}`);
}

function toLine(line: PasswdRecord | string): string {
  if (typeof line === "string") return line;
  const { name, hash, salt, rounds, permissions, superuser } = line;
  const fields = [name, toHex(hash), toHex(salt), rounds, [...permissions].join(","), ALGORITHM];
  return [...fields, ...(superuser ? [SUPERUSER] : [])].join(":");
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
