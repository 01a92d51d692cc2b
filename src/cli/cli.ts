/**
 * The command line: calls servers, watches topics, serves modules, measures. `deno run -A` of this module,
 * or `npx @x/jsonrpc`:
 *
 *     npx @x/jsonrpc call localhost:8000 add 1 2
 *
 * The guide `docs/tools.md` shows each command with what it prints.
 *
 * @module
 */

import process from "node:process";
import { parseArguments } from "./arguments.ts";
import type { Arguments } from "./arguments.ts";
import { bench } from "./bench.ts";
import { bridge } from "./bridge.ts";
import { call, discover, methods, notify, topics, types } from "./calls.ts";
import { EXIT, reportFailure, UsageError } from "./errors.ts";
import { COMMAND_HELP, HELP } from "./help.ts";
import { repl } from "./repl.ts";
import { serve } from "./serve.ts";
import { secretsOf } from "./target.ts";
import { Terminal } from "./terminal.ts";
import { trace } from "./trace.ts";
import { VERSION } from "./version.ts";
import { stream, subscribe } from "./watch.ts";

type Command = (args: Arguments, terminal: Terminal) => Promise<void>;

const COMMANDS: Readonly<Record<string, Command>> = {
  bench,
  bridge,
  call,
  discover,
  methods,
  notify,
  repl,
  serve,
  stream,
  subscribe,
  topics,
  trace,
  types,
};

/**
 * Runs one command.
 *
 * @param args The arguments, the command first.
 * @returns The exit code.
 *
 * @example
 * ```ts ignore
 * import { main } from "@x/jsonrpc/cli";
 *
 * process.exitCode = await main(["call", "localhost:8000", "add", "1", "2"]);
 * ```
 */
export async function main(args: readonly string[]): Promise<number> {
  const terminal = new Terminal(args.some((each) => /^--json(?:=|$)/.test(each)));
  const code = await run(args, terminal);
  // A caller that ends the process would cut off what is not written yet.
  await terminal.flushed();
  return code;
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name = "", ...rest] = args;
  process.stdout.off("error", endWithReader).on("error", endWithReader);
  // Nobody reads what could be said about it.
  process.stderr.off("error", ignore).on("error", ignore);
  if (["", "help", "--help", "-h"].includes(name)) {
    if (name !== "") terminal.line(HELP);
    else terminal.note(HELP);
    return name === "" ? EXIT.usage : EXIT.ok;
  }
  if (["--version", "-V", "version"].includes(name)) {
    terminal.line(`jsonrpc ${VERSION} (${runtimeText()})`);
    return EXIT.ok;
  }
  try {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(`Unknown command "${name}": see --help`);
    const parsed = parseArguments(rest);
    if (parsed === undefined) terminal.line(COMMAND_HELP[name] ?? HELP);
    else {
      terminal.hide(secretsOf(parsed));
      await command(parsed, terminal);
    }
    return EXIT.ok;
  } catch (error) {
    return reportFailure(error, terminal);
  }
}

/** Ends the program quietly if what reads its output has seen enough, as `head` does. */
function endWithReader(error: Error & { readonly code?: string }): void {
  if (error.code === "EPIPE") process.exit(EXIT.ok);
  process.stderr.write(`Cannot write the output: ${error.message}\n`);
  process.exit(EXIT.error);
}

function ignore(): void {}

/** The runtime and its version, which a report of a fault needs. */
function runtimeText(): string {
  const { bun, deno, node } = process.versions;
  return bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
}

if (import.meta.main) {
  const code = await main(process.argv.slice(2));
  // Standard sockets may keep the process alive until the server has closed them.
  process.exit(code);
}
