/**
 * The command `repl`: calls by hand over one connection.
 *
 * @module
 */

import { appendFileSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Interface } from "node:readline";
import type { JsonRpcClient } from "../client/client.ts";
import { escapeControls } from "../protocol/errors.ts";
import type { Arguments } from "./arguments.ts";
import { askNames, describe, ownFirst, required } from "./calls.ts";
import { reportFailure, UsageError } from "./errors.ts";
import { parseParams, splitWords } from "./params.ts";
import { openClient, reportConnection, shownTarget } from "./target.ts";
import type { Terminal } from "./terminal.ts";

const HELP =
  `METHOD [PARAMS]          call a method: params as JSON, name=value or values by position
.notify METHOD [PARAMS]  send a notification
.subscribe TOPIC         print the events of a topic
.unsubscribe TOPIC       stop that
.methods, .topics        what the server offers to you
.exit                    leave (also Ctrl+D)
Ctrl+C cancels a call, or else the line; on an empty line it leaves.`;

const COMMANDS = [".exit", ".help", ".methods", ".notify", ".subscribe", ".topics", ".unsubscribe"];
const MAX_HISTORY = 1000;

/** Reads lines until the end of the input, and calls what they say. */
export async function repl(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  const client = await openClient(url, args, { reconnect: true });
  try {
    await new Repl(client, args, terminal).run(url);
  } finally {
    await client.close();
  }
}

class Repl {
  readonly #client: JsonRpcClient;
  readonly #args: Arguments;
  readonly #terminal: Terminal;
  #methods: readonly string[] = [];
  #topics: readonly string[] = [];
  // The prompt, while it waits for a line.
  #prompt: Interface | undefined;
  // The call under way.
  #call: AbortController | undefined;

  constructor(client: JsonRpcClient, args: Arguments, terminal: Terminal) {
    this.#client = client;
    this.#args = args;
    this.#terminal = terminal;
    reportConnection(client, terminal);
  }

  async run(url: string): Promise<void> {
    const isTerminal = process.stdin.isTTY === true;
    await this.#loadNames();
    if (isTerminal) {
      this.#terminal.note(`Connected to ${shownTarget(url)}. .help says what there is.`);
    }
    const lines = createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: isTerminal,
      prompt: isTerminal ? "> " : "",
      history: isTerminal ? readHistory() : [],
      historySize: MAX_HISTORY,
      completer: (line: string) => this.#complete(line),
    });
    await this.#read(lines, isTerminal);
  }

  async #read(lines: Interface, isTerminal: boolean): Promise<void> {
    // The input may end while a call is under way.
    let isOpen = true;
    const prompt = () => {
      if (!isOpen) return;
      lines.prompt();
      if (isTerminal) this.#prompt = lines;
    };
    lines.once("close", () => isOpen = false);
    if (isTerminal) lines.on("SIGINT", () => this.#interrupt(lines));
    prompt();
    for await (const line of lines) {
      this.#prompt = undefined;
      if (line.trim() === ".exit") break;
      if (isTerminal) writeHistory(line);
      try {
        await this.#run(line);
      } catch (error) {
        reportFailure(error, this.#terminal);
      }
      prompt();
    }
    this.#prompt = undefined;
    lines.close();
  }

  /** Ctrl+C: cancels the call under way, or else the line; on an empty line it leaves. */
  #interrupt(lines: Interface): void {
    if (this.#call !== undefined) return this.#call.abort(new UsageError("Cancelled"));
    if (lines.line === "") return lines.close();
    // As a shell does: the line stays visible, and a new one begins.
    lines.write(null, { ctrl: true, name: "e" });
    lines.write(null, { ctrl: true, name: "u" });
    this.#terminal.line("^C");
    lines.prompt();
  }

  /** Prints a line above the prompt, and what is typed there stays. */
  #printAbove(text: string): void {
    if (this.#prompt === undefined) return this.#terminal.line(text);
    this.#terminal.replace(text);
    this.#prompt.prompt(true);
  }

  async #run(line: string): Promise<void> {
    const [first, ...rest] = splitWords(line);
    if (first === undefined) return;
    if (first.startsWith(".")) return await this.#command(first, rest);
    const { timeoutMs } = this.#args;
    const onProgress = (value: unknown) => this.#terminal.reported(value);
    const params = parseParams(rest);
    this.#call = new AbortController();
    const { signal } = this.#call;
    try {
      this.#terminal.value(
        await this.#client.call(first, params, { timeoutMs, onProgress, signal }),
      );
    } finally {
      this.#call = undefined;
    }
  }

  async #command(name: string, words: readonly string[]): Promise<void> {
    const [first] = words;
    switch (name) {
      case ".help":
        return this.#terminal.line(HELP);
      case ".methods":
        return this.#list(this.#methods);
      case ".topics":
        return this.#list(this.#topics);
    }
    if (!COMMANDS.includes(name)) throw new UsageError(`Unknown command ${name}: see .help`);
    const [target = "", ...params] = splitWords(words.join(" "));
    if (first === undefined) throw new UsageError(`${name} needs a name`);
    if (name === ".notify") this.#client.notify(target, parseParams(params));
    else if (name === ".unsubscribe") await this.#client.unsubscribe(target);
    else {
      await this.#client.subscribe(target, (data) => {
        this.#printAbove(`${this.#terminal.bold(target)} ${JSON.stringify(data ?? null)}`);
      });
    }
  }

  #list(names: readonly string[]): void {
    for (const name of names) this.#terminal.line(name);
  }

  async #loadNames(): Promise<void> {
    // Servers of others may have neither.
    const described = await describe(this.#client, this.#args).catch(() => []);
    this.#methods = ownFirst(described).map(({ name }) => name);
    this.#topics = await askNames(this.#client, "get_topics", this.#args).catch(() => []);
    // What Tab completes is written as it is, and so would be what a terminal obeys.
    this.#methods = this.#methods.filter(isPlain);
    this.#topics = this.#topics.filter(isPlain);
  }

  #complete(line: string): [string[], string] {
    const word = /\S*$/.exec(line)?.[0] ?? "";
    const isFirst = word.length === line.trimStart().length;
    const names = /^\s*\.(?:un)?subscribe\s/.test(line)
      ? this.#topics
      : isFirst
      ? [...COMMANDS, ...this.#methods]
      : /^\s*\.notify\s+\S*$/.test(line)
      ? this.#methods
      : [];
    const matches = names.filter((name) => name.startsWith(word));
    // As in a shell, a name that is complete has a space behind it.
    return [matches.length === 1 ? [`${matches[0]} `] : matches, word];
  }
}

/** Whether a name can be typed, and does nothing to a terminal. */
function isPlain(name: unknown): name is string {
  return typeof name === "string" && escapeControls(name) === name && !/\s/.test(name);
}

function historyFile(): string {
  return process.env.JSONRPC_HISTORY ?? join(homedir(), ".jsonrpc_history");
}

/** The newest line first, as readline wants it. */
function readHistory(): string[] {
  try {
    return readFileSync(historyFile(), "utf8").trimEnd().split("\n").reverse().slice(
      0,
      MAX_HISTORY,
    );
  } catch {
    return [];
  }
}

function writeHistory(line: string): void {
  // A line with a secret is not kept.
  if (line.trim() === "" || /pass|secret|token|login/i.test(line)) return;
  try {
    appendFileSync(historyFile(), `${line}\n`, { mode: 0o600 });
  } catch {
    // The history is a convenience.
  }
}
