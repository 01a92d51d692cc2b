/**
 * Users as lines of text: the format of aiohttp-json-rpc's `PasswdAuthBackend`, with two more fields.
 *
 *     name:hash:salt:rounds:permission,permission:algorithm:superuser
 *
 * Hash and salt are hexadecimal. The last two fields may be missing, as in files of aiohttp-json-rpc:
 * the algorithm is then `pbkdf2-sha256`, the only one so far. aiohttp-json-rpc reads lines that have
 * them, and drops the two fields when it writes. Empty lines and lines that start with `#` are kept.
 *
 * @module
 */

import { RpcInvalidParamsError } from "../../protocol/errors.ts";
import { HASH_BYTES } from "./hash.ts";
import type { PasswordHash } from "./hash.ts";

/** One user, as stored in the file. */
export interface PasswdRecord extends PasswordHash {
  /** The user's name. */
  readonly name: string;
  /** The names of the user's permissions. */
  readonly permissions: ReadonlySet<string>;
  /** Whether the user has every permission. */
  readonly superuser: boolean;
}

/** The users and comment lines of one file, in order. */
export class PasswdTable {
  // Comment lines have their number as key. Names are strings, so the two cannot collide.
  readonly #lines: Map<string | number, PasswdRecord | string>;

  /** @param lines The lines of another table, to be copied. @default {none} */
  constructor(lines: PasswdTable["lines"] = new Map()) {
    this.#lines = new Map(lines);
  }

  /**
   * Parses the text of a file.
   *
   * @param text The text.
   * @returns The table.
   * @throws {SyntaxError} If a line is not valid. The message has its number.
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

  /** Users by name, and comment lines by number. */
  get lines(): ReadonlyMap<string | number, PasswdRecord | string> {
    return this.#lines;
  }

  /** The highest number of rounds among all users. */
  get maxRounds(): number {
    let max = 0;
    for (const line of this.#lines.values()) {
      if (typeof line !== "string") max = Math.max(max, line.rounds);
    }
    return max;
  }

  /** The user of a name, if there is one. */
  get(name: string): PasswdRecord | undefined {
    return this.#lines.get(name) as PasswdRecord | undefined;
  }

  /** Adds a user, or replaces the user of that name. */
  set(record: PasswdRecord): void {
    this.#lines.set(record.name, record);
  }

  /** Deletes a user. Returns whether there was one. */
  delete(name: string): boolean {
    return this.#lines.delete(name);
  }

  /** The text of the file. */
  toString(): string {
    return Array.from(this.#lines.values(), (line) => `${toLine(line)}\n`).join("");
  }

  #add(line: string, number: number): void {
    if (line.includes("\ufffd")) throw new SyntaxError("expected UTF-8");
    const isComment = line.trim() === "" || line.startsWith("#");
    const entry = isComment ? line : parseRecord(line);
    const key = typeof entry === "string" ? number : entry.name;
    if (this.#lines.has(key)) throw new SyntaxError("two lines have this name");
    this.#lines.set(key, entry);
  }
}

/**
 * The one spelling of a name, so that names that differ only in how their characters are composed are
 * one name: the Unicode form NFKC.
 *
 * @param name The name, as somebody has typed it.
 * @returns The name, as the file has it.
 * @see {@link https://www.unicode.org/reports/tr15/ | Unicode Standard Annex 15}
 */
export function normalName(name: string): string {
  // `normalize` throws for nothing that is a string, not even for halves of characters.
  return name.normalize("NFKC");
}

/**
 * Checks the name of a user.
 *
 * @param name The name.
 * @returns The name in the form NFKC.
 * @throws {RpcInvalidParamsError} If a line of the file cannot hold it.
 */
export function checkName(name: string): string {
  if (typeof name === "string") name = normalName(name);
  checkWord(name, "name", /:/);
  if (name.startsWith("#")) throw invalid("name", "starts with `#`");
  return name;
}

/**
 * Checks the name of a new user. It must not look like another one: a file may hold such a name, but
 * nobody gets one any more.
 *
 * @param name The name.
 * @returns The name in the form NFKC.
 * @throws {RpcInvalidParamsError} If a line of the file cannot hold it, if it starts or ends with a
 * space, or if it has characters that nobody sees or that change the direction of the text.
 */
export function checkNewName(name: string): string {
  const normal = checkName(name);
  if (normal.trim() !== normal) throw invalid("name", "starts or ends with a space");
  if (INVISIBLE.test(normal)) throw invalid("name", "contains a character that is invisible");
  return normal;
}

/**
 * Checks the name of a permission.
 *
 * @param permission The name.
 * @returns The name.
 * @throws {RpcInvalidParamsError} If a line of the file cannot hold it.
 */
export function checkPermission(permission: string): string {
  return checkWord(permission, "permission", /[:,]/);
}

/** The longest name or permission, in UTF-16 characters. */
export const MAX_LENGTH = 255;

const ALGORITHM = "pbkdf2-sha256";
const SUPERUSER = "superuser";
const MAX_ROUNDS = 2 ** 31 - 1;
// Control characters, line and paragraph separators, lone surrogates, and the two characters that a
// UTF-8 decoder removes or inserts.
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\ufeff\ufffd]/u;
// Zero-width characters, marks for the direction of text, and others that are not shown.
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

function checkWord(word: string, what: string, separator: RegExp): string {
  if (typeof word !== "string") throw invalid(what, `is a ${typeof word}`);
  if (word === "") throw invalid(what, "is empty");
  if (word.length > MAX_LENGTH) throw invalid(what, `has over ${MAX_LENGTH} characters`);
  const [character] = separator.exec(word) ?? [];
  if (character !== undefined) throw invalid(what, `contains \`${character}\``);
  if (UNPRINTABLE.test(word)) throw invalid(what, "contains a character that is not printable");
  return word;
}

function invalid(what: string, why: string): RpcInvalidParamsError {
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
    throw new SyntaxError(`expected "${SUPERUSER}" or nothing in the last field`);
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
