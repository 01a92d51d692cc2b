/**
 * A file of users: read again whenever another program has changed it, and replaced as a whole.
 *
 * @module
 */

import { open, realpath } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { lockedWrite } from "./locked_write.ts";
import { PasswdTable } from "./table.ts";

/** A file of users. If the file is missing, there are no users. */
export class PasswdFile {
  readonly #path: string;
  readonly #changed: () => void;
  readonly #lockTimeoutMs: number;
  #table = new PasswdTable();
  #stamp = "";
  // Reads and writes run one after the other, so that an old result never replaces a newer one.
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param path The path of the file.
   * @param changed Called each time the users were read or written.
   * @param lockTimeoutMs Milliseconds that another writer may keep the file locked before this one
   * takes it for dead and breaks its lock.
   */
  constructor(path: string, changed: () => void = () => {}, lockTimeoutMs = 5000) {
    this.#path = path;
    this.#changed = changed;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  /** The users, as of the last look at the file. */
  get table(): PasswdTable {
    return this.#table;
  }

  /**
   * Reads the file if it has changed.
   *
   * @returns The users. Rejects if the file cannot be read or one of its lines is not valid; the
   * users of before stay then.
   */
  async read(): Promise<PasswdTable> {
    await this.#queue(() => this.#refresh());
    return this.#table;
  }

  /**
   * Changes the file.
   *
   * @param change Changes the table, which holds the users that are in the file now. Returns `false`
   * to leave the file as it is. May be called again with another table, if another writer came first.
   * @param written Called when the file is written, before `changed` is called.
   * @returns What `change` returned. Rejects with what it throws, and if the file cannot be written.
   */
  update(
    change: (table: PasswdTable) => boolean,
    written: () => void = () => {},
  ): Promise<boolean> {
    return this.#queue(async () => {
      // The lock is made beside the file itself and not beside a link to it, where other writers
      // would not find it.
      const path = await realpath(this.#path).catch(() => this.#path);
      let table = this.#table;
      const done = await lockedWrite(path, async () => {
        this.#stamp = "";
        await this.#refresh();
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

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  async #refresh(): Promise<void> {
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

// A file that changed less than this long ago can change again within the same tick of its clock.
const YOUNG_MS = 100;

/** A text that differs if the file does; empty for a file that is too young to tell. */
async function stampOf(file: FileHandle): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await file.stat();
  return Date.now() - Math.max(mtimeMs, ctimeMs) > YOUNG_MS
    ? `${ino} ${size} ${mtimeMs} ${ctimeMs}`
    : "";
}
