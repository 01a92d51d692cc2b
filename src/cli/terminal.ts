/**
 * What the command line prints: results on stdout, everything else on stderr. It has colours on a terminal
 * only.
 *
 * @module
 */

import process from "node:process";
import { CONTROLS } from "../protocol/errors.ts";

/** Writes to the terminal, or to wherever stdout and stderr lead. */
export class Terminal {
  /** Whether results are JSON in one line each, for programs. */
  readonly json: boolean;
  // Writes end in order, so that the last one of each stream stands for all.
  #written: Promise<void> | undefined;
  #noted: Promise<void> | undefined;
  #secrets: readonly string[] = [];

  /** @param json Whether results are JSON in one line each. */
  constructor(json: boolean) {
    this.json = json;
  }

  /** Prints `***` on stderr in place of these texts: a server may send back what it was sent. */
  hide(secrets: readonly string[]): void {
    this.#secrets = secrets;
  }

  /** Whether stdout is a terminal. */
  get isTerminal(): boolean {
    return process.stdout.isTTY === true;
  }

  /** Prints a line on stdout. */
  line(text: string): void {
    this.#print(`${harmless(text)}\n`);
  }

  /** Waits until what was printed is written: what reads it may be slow, and Bun keeps it until then. */
  async flushed(): Promise<void> {
    await Promise.all([this.#written, this.#noted]);
  }

  /** Prints a line on stderr. */
  note(text: string): void {
    const masked = this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
    this.#noted = new Promise((resolve) => {
      process.stderr.write(`${harmless(masked)}\n`, () => resolve());
    });
  }

  /** Prints the progress of a call on stderr. */
  reported(value: unknown): void {
    const text = JSON.stringify(value ?? null);
    this.note(this.json ? `{"progress":${text}}` : `progress: ${text}`);
  }

  /** Prints a line on stdout in place of the one at which the cursor of the terminal is. */
  replace(text: string): void {
    this.#print(`\r\x1b[K${harmless(text)}\n`);
  }

  #print(text: string): void {
    this.#written = new Promise((resolve) => {
      process.stdout.write(text, () => resolve());
    });
  }

  /** Replaces the last line of stderr, if that is a terminal. */
  progress(text: string): void {
    if (process.stderr.isTTY === true) process.stderr.write(`\r\x1b[K${harmless(text)}`);
  }

  /** Prints a value as JSON on stdout: in one line with `--json`, else indented. */
  value(value: unknown): void {
    this.line(
      this.json ? JSON.stringify(value ?? null) : JSON.stringify(value ?? null, undefined, 2),
    );
  }

  /** A text in bold, if stdout has colours. */
  bold(text: string): string {
    return hasColours(process.stdout) ? `\x1b[1m${text}\x1b[22m` : text;
  }

  /** A text in grey, if stdout has colours. */
  dim(text: string): string {
    return hasColours(process.stdout) ? `\x1b[2m${text}\x1b[22m` : text;
  }

  /** A text in red, if stderr has colours. */
  red(text: string): string {
    return hasColours(process.stderr) ? `\x1b[31m${text}\x1b[39m` : text;
  }
}

/**
 * A text with its control characters escaped, except those that this class itself makes: the server chooses
 * names, summaries and messages of errors, and could move the cursor or rewrite what was printed before. The
 * escapes are those of JSON, so that JSON stays JSON.
 */
function harmless(text: string): string {
  // The parts at odd places are the styles.
  return text.split(STYLES).map((part, index) =>
    index % 2 === 0 ? part.replace(CONTROLS, escaped) : part
  )
    .join("");
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * A name or a text of a server as a part of one line: with its line breaks and tabs escaped, since it could pretend
 * to be several lines.
 *
 * @param text What the server sent, which need not be a text.
 */
export function inLine(text: unknown): string {
  const line = typeof text === "string" ? text : `${JSON.stringify(text)}`;
  return line.replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

// deno-lint-ignore no-control-regex -- bold, dim and red, and their ends
const STYLES = /(\x1b\[(?:1|2|22|31|39)m)/;

/** @see {@link https://no-color.org} */
function hasColours(stream: { readonly isTTY?: boolean }): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR;
}
