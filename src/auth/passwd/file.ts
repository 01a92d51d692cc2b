/**
 * The users of one file: read again whenever somebody else has changed it, written as a whole.
 *
 * @module
 */

import { open, realpath } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { lockedWrite } from "./locked_write.ts";
import { PasswdTable } from "./table.ts";

/** A file of users. It may be missing: then there are none. */
export class PasswdFile {
  readonly #path: string;
  readonly #changed: () => void;
  readonly #lockTimeoutMs: number;
  #table = new PasswdTable();
  #stamp = "";
  // What was asked of the file goes one after the other: nothing old overtakes something new.
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param path Where it is.
   * @param changed Called each time the table is another than before.
   * @param patienceMs Milliseconds for which another writer may keep the file locked before it
   * counts as dead.
   */
  constructor(path: string, changed: () => void = () => {}, patienceMs = 5000) {
    this.#path = path;
    this.#changed = changed;
    this.#lockTimeoutMs = patienceMs;
  }

  /** The users, as they were when the file was looked at last. */
  get table(): PasswdTable {
    return this.#table;
  }

  /**
   * Looks whether the file was changed, and reads it if so.
   *
   * @returns The users. Rejects where the file cannot be read, or a line of it makes no sense; the
   * users are then those of before.
   */
  async read(): Promise<PasswdTable> {
    await this.#inTurn(() => this.#look());
    return this.#table;
  }

  /**
   * Changes the file.
   *
   * @param change Changes the table, which holds what the file holds now; answers `false` to leave
   * the file as it is. May be called again, with another table.
   * @param written Called when the file is written, before anybody is told.
   * @returns What `change` answered. Rejects with what it throws, and where the file cannot be
   * written.
   */
  update(
    change: (table: PasswdTable) => boolean,
    written: () => void = () => {},
  ): Promise<boolean> {
    return this.#inTurn(async () => {
      // Beside the file itself, not beside a link to it: that is where other writers look.
      const path = await realpath(this.#path).catch(() => this.#path);
      let table = this.#table;
      const done = await lockedWrite(path, async () => {
        this.#stamp = "";
        await this.#look();
        table = new PasswdTable(this.#table.lines);
        return change(table) ? String(table) : undefined;
      }, this.#lockTimeoutMs);
      if (!done) return false;
      this.#table = table;
      this.#stamp = "";
      written();
      this.#changed();
      return true;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  async #look(): Promise<void> {
    const file = await this.#open();
    try {
      const stamp = file === undefined ? "missing" : await stampOf(file);
      if (stamp !== "" && stamp === this.#stamp) return;
      this.#table = file === undefined ? new PasswdTable() : await this.#parse(file);
      this.#stamp = stamp;
    } finally {
      await file?.close();
    }
    this.#changed();
  }

  async #open(): Promise<FileHandle | undefined> {
    try {
      return await open(this.#path, "r");
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return undefined;
      throw error;
    }
  }

  async #parse(file: FileHandle): Promise<PasswdTable> {
    const text = new TextDecoder().decode(await file.readFile());
    try {
      return PasswdTable.parse(text);
    } catch (cause) {
      throw new Error(`Cannot read ${this.#path}, ${(cause as Error).message}`, { cause });
    }
  }
}

// A file that was changed this short ago may be changed again without looking any different.
const YOUNG_MS = 100;

/** What differs where a file does; empty where that is not certain. */
async function stampOf(file: FileHandle): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await file.stat();
  return Date.now() - Math.max(mtimeMs, ctimeMs) > YOUNG_MS
    ? `${ino} ${size} ${mtimeMs} ${ctimeMs}`
    : "";
}
