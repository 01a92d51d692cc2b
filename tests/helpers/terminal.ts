/**
 * A program in a terminal: a test types into it, and reads what it prints.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import process from "node:process";

// Machines that run tests are busy.
const PATIENCE_MS = 60_000;

/** A program that runs; hold it with `await using`, which ends it. */
export class Terminal {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #printed: (() => void)[] = [];
  #running = true;
  #output = "";

  /**
   * @param command The program and its arguments.
   * @param folder Where it runs.
   * @param env More variables of its environment.
   */
  constructor(
    [program = "", ...args]: readonly string[],
    folder: string,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#child = spawn(program, args, {
      cwd: folder,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", ({ message }) => this.#print(message));
      this.#child.once("close", () => {
        this.#running = false;
        this.#print("");
        resolve();
      });
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.#print(text));
    }
    this.#child.stdin?.on("error", () => {}); // the program may have ended
  }

  /** Everything that it has printed. */
  get output(): string {
    return this.#output;
  }

  /** Types a line. */
  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Presses keys, such as Ctrl+C (`"\x03"`). The program must be in a terminal: see in_terminal.py. */
  press(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  /**
   * Waits until it has printed a text, so many times.
   *
   * @throws {Error} If it ends before, or does not print it within a minute.
   */
  async prints(text: string, times = 1): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (this.#output.split(text).length <= times) {
      if (!this.#running || performance.now() > end) {
        throw new Error(`It has not printed "${text}" but:\n${this.#output}`);
      }
      await this.#something();
    }
  }

  /** Waits until it ends by itself, and gives what it has printed. */
  async end(): Promise<string> {
    await this.#ended;
    return this.#output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid } = this.#child;
    if (this.#running && pid !== undefined) process.kill(pid, "SIGTERM");
    await this.#ended;
  }

  /** Waits until it prints, ends, or a second has passed. */
  #something(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000);
      this.#printed.push(() => (clearTimeout(timer), resolve()));
    });
  }

  #print(text: string): void {
    this.#output += text;
    for (const printed of this.#printed.splice(0)) printed();
  }
}
