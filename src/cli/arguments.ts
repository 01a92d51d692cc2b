/**
 * The arguments of the command line.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { UsageError } from "./errors.ts";

/** The options of all commands. */
const OPTIONS = {
  "connections": { type: "string", default: "10" },
  "count": { type: "string", default: "Infinity" },
  "duration": { type: "string", default: "5" },
  "header": { type: "string", short: "H", multiple: true, default: [] as string[] },
  "help": { type: "boolean", short: "h", default: false },
  "hostname": { type: "string", default: "127.0.0.1" },
  "in-flight": { type: "string", default: "1" },
  "json": { type: "boolean", default: false },
  "last": { type: "string" },
  "notification": { type: "string" },
  "once": { type: "boolean", default: false },
  "port": { type: "string", default: "8000" },
  "recover": { type: "boolean", default: false },
  "secrets": { type: "boolean", default: false },
  "timeout": { type: "string", default: "30" },
  "token": { type: "string" },
  "unsubscribe": { type: "string" },
  "user": { type: "string" },
} as const;

/** The name of an option. */
export type OptionName = keyof typeof OPTIONS;

/** The arguments of one command. */
export interface Arguments {
  /** The arguments that are no options, without the command itself. */
  readonly positionals: readonly string[];
  /** `--connections`: how many connections `bench` opens. */
  readonly connections: number;
  /** `--count`: after how many events or items to stop. */
  readonly count: number;
  /** `--duration`: how long `bench` runs, in milliseconds. */
  readonly durationMs: number;
  /** `--header`: headers of each request, by name. */
  readonly headers: Readonly<Record<string, string>>;
  /** `--hostname`: the address to listen on. */
  readonly hostname: string;
  /** `--in-flight`: how many calls of a connection `bench` keeps in flight. */
  readonly inFlight: number;
  /** `--json`: whether to print JSON in one line each. */
  readonly json: boolean;
  /** `--last`: how many of the newest events that a topic has kept to print first. */
  readonly last: number | undefined;
  /** `--notification`: the notification that carries the items of a stream. */
  readonly notification: string | undefined;
  /** `--once`: whether to print only the events that topics have kept. */
  readonly once: boolean;
  /** `--port`: the port to listen on. */
  readonly port: number;
  /** `--recover`: whether to fetch missed events after a reconnect. */
  readonly recover: boolean;
  /** `--secrets`: whether a trace shows secrets. */
  readonly secrets: boolean;
  /** `--timeout`: how long to wait for a connection or an answer, in milliseconds. */
  readonly timeoutMs: number;
  /** `--token`: the bearer token. */
  readonly token: string | undefined;
  /** `--unsubscribe`: the method that ends a stream. */
  readonly unsubscribe: string | undefined;
  /** `--user`: the name, and perhaps the password, to log in with. */
  readonly user: string | undefined;
}

/**
 * Parses the arguments behind a command.
 *
 * @param args The arguments.
 * @returns The arguments; `undefined` if they ask for help.
 * @throws {UsageError} If an option is unknown or has no valid value.
 */
export function parseArguments(args: readonly string[]): Arguments | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  return {
    positionals: positionals.map((each) => each.replace(MARK, "")),
    connections: positive("connections", values.connections),
    count: positive("count", values.count),
    durationMs: positive("duration", values.duration) * 1000,
    headers: Object.fromEntries(values.header.map(toHeader)),
    hostname: values.hostname,
    inFlight: positive("in-flight", values["in-flight"]),
    json: values.json,
    last: values.last === undefined ? undefined : wholeNumber("last", values.last),
    notification: values.notification,
    once: values.once,
    port: port(values.port),
    recover: values.recover,
    secrets: values.secrets,
    timeoutMs: positive("timeout", values.timeout) * 1000,
    token: values.token,
    unsubscribe: values.unsubscribe,
    user: values.user,
  };
}

function parse(args: readonly string[]) {
  // A negative number is a param, not an option.
  const marked = args.map((each) => /^-\d/.test(each) ? MARK + each : each);
  try {
    return parseArgs({ args: marked, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.split(/\.\s/)[0] as string);
  }
}

function positive(name: OptionName, text: string): number {
  const number = Number(text);
  if (number > 0) return number;
  throw new UsageError(`Expected --${name} to be a number over 0, got "${text.replace(MARK, "")}"`);
}

function wholeNumber(name: OptionName, text: string): number {
  const number = positive(name, text);
  if (Number.isInteger(number)) return number;
  throw new UsageError(`Expected --${name} to be a whole number, got "${text}"`);
}

function port(text: string): number {
  const number = Number(text);
  if (text !== "" && Number.isInteger(number) && number >= 0 && number < 65_536) return number;
  throw new UsageError(`Expected --port to be a number from 0 to 65535, got "${text}"`);
}

function toHeader(text: string): [name: string, value: string] {
  const end = text.indexOf(":");
  if (end > 0) return [text.slice(0, end).trim(), text.slice(end + 1).trim()];
  throw new UsageError(`Expected --header to be "name: value", got "${text}"`);
}

const MARK = "\0";
