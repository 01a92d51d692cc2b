/**
 * What the clients that others wrote have in common: a line on standard input is a command, and what happens is
 * a line on standard output. Both are arrays of JSON.
 */
import process from "node:process";
import { createInterface } from "node:readline";

/** What a command does; its result is said. */
export type Commands = Readonly<Record<string, (argument: string) => unknown>>;

/** Says that something happened. */
export function say(...what: readonly unknown[]): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

/** Runs commands until standard input ends. */
export async function obey(commands: Commands): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, argument] = JSON.parse(line);
    try {
      say(name, await commands[name]?.(argument) ?? null);
    } catch (error) {
      say(name, { error: String(error) });
    }
  }
}
