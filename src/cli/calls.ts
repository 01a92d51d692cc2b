/**
 * The commands that ask once: call, notify, methods, topics, discover, types.
 *
 * @module
 */

import type { JsonRpcClient } from "../client/client.ts";
import type { OpenRpcDocument } from "../codegen/generate_types.ts";
import { RpcMethodNotFoundError } from "../protocol/errors.ts";
import type { Arguments } from "./arguments.ts";
import { UnsupportedError, UsageError } from "./errors.ts";
import { parseParams } from "./params.ts";
import { openClient } from "./target.ts";
import { inLine } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

/** Calls a method and prints its result. */
export async function call(args: Arguments, terminal: Terminal): Promise<void> {
  const [url, method, ...words] = required(args, "URL", "METHOD");
  const params = parseParams(words);
  await withClient(url, args, async (client) => {
    const onProgress = (value: unknown) => terminal.reported(value);
    terminal.value(await client.call(method, params, { timeoutMs: args.timeoutMs, onProgress }));
  });
}

/** Sends a notification. */
export async function notify(args: Arguments): Promise<void> {
  const [url, method, ...words] = required(args, "URL", "METHOD");
  const params = parseParams(words);
  await withClient(url, args, (client) => {
    client.notify(method, params);
    return Promise.resolve();
  });
}

/** Prints the methods that may be called, with their params and summaries. */
export async function methods(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  await withClient(url, args, async (client) => {
    const described = ownFirst(await describe(client, args));
    if (terminal.json) return terminal.value(described.map(({ name }) => name));
    for (const { name, params = [], summary, "x-any-params": isAny } of described) {
      const names = params.map(({ name, required }) => required === false ? `${name}?` : name);
      if (isAny === true) names.push("…");
      const signature = `${terminal.bold(inLine(name))}(${inLine(names.join(", "))})`;
      terminal.line(summary ? `${signature}  ${terminal.dim(inLine(summary))}` : signature);
    }
  });
}

/** Prints the topics that may be subscribed to. */
export async function topics(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  await withClient(url, args, async (client) => {
    const names = await askNames(client, "get_topics", args);
    if (terminal.json) return terminal.value(names);
    for (const name of names) terminal.line(inLine(name));
  });
}

/** Prints the OpenRPC document. */
export async function discover(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  await withClient(url, args, async (client) => {
    terminal.value(await ask(client, "rpc.discover", args));
  });
}

/** Prints the TypeScript declarations of the OpenRPC document. */
export async function types(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  const { generateTypes } = await import("../codegen/generate_types.ts").catch((cause) => {
    const hint = "npm install json-schema-to-typescript";
    throw new UsageError(`The command types needs a package beside this one: ${hint}`, { cause });
  });
  await withClient(url, args, async (client) => {
    const document = toDocument(await ask(client, "rpc.discover", args));
    const text = await generateTypes(document);
    if (terminal.json) terminal.value(text);
    else terminal.line(text.trimEnd());
  });
}

/**
 * Asks a server what it offers.
 *
 * @throws {UnsupportedError} If it has no such method, as servers of other libraries.
 */
async function ask(
  client: JsonRpcClient,
  method: "get_methods" | "get_topics" | "rpc.discover",
  { timeoutMs }: Pick<Arguments, "timeoutMs">,
): Promise<unknown> {
  try {
    return await client.call(method, undefined, { timeoutMs });
  } catch (error) {
    if (!(error instanceof RpcMethodNotFoundError)) throw error;
    throw new UnsupportedError(
      `This server does not say what it offers: it has no method ${method}`,
    );
  }
}

/**
 * Asks a server for names.
 *
 * @throws {UnsupportedError} If it has no such method, or answers with something else.
 */
export async function askNames(
  client: JsonRpcClient,
  method: "get_methods" | "get_topics",
  options: Pick<Arguments, "timeoutMs">,
): Promise<readonly string[]> {
  const names = await ask(client, method, options);
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) return names;
  throw new UnsupportedError(`This server answers ${method} with something else than names`);
}

/** @throws {UnsupportedError} If it is no OpenRPC document. */
function toDocument(value: unknown): OpenRpcDocument & { readonly methods: DescribedMethod[] } {
  const { methods } = Object(value) as { methods?: unknown };
  const isList = (list: unknown) =>
    Array.isArray(list) && list.every((each) => typeof Object(each).name === "string");
  if (
    isList(methods) && (methods as DescribedMethod[]).every(({ params = [] }) => isList(params))
  ) {
    return value as OpenRpcDocument & { readonly methods: DescribedMethod[] };
  }
  throw new UnsupportedError("This server answers rpc.discover with no OpenRPC document");
}

/**
 * Puts the methods that every server of this library has behind those of the program.
 *
 * @param methods The methods of a server.
 * @returns All of them.
 */
export function ownFirst(
  methods: readonly DescribedMethod[],
): DescribedMethod[] {
  const isOwn = ({ name }: DescribedMethod) => !COMMON.has(name) && !name.startsWith("rpc.");
  return [...methods.filter(isOwn), ...methods.filter((method) => !isOwn(method))];
}

const COMMON = new Set([
  ...["get_methods", "get_subscriptions", "get_topics", "subscribe", "unsubscribe"],
]);

/** A method in an OpenRPC document. */
export interface DescribedMethod {
  /** The name. */
  readonly name: string;
  /** The params. */
  readonly params?: readonly { readonly name: string; readonly required?: boolean }[];
  /** One line. */
  readonly summary?: string;
  /** Whether the method reads params that it does not declare. */
  readonly "x-any-params"?: boolean;
  /** The names of the subscription by id that the method begins. */
  readonly "x-stream"?: { readonly unsubscribe: string; readonly notification: string };
}

/**
 * Asks for the methods: the OpenRPC document or, on servers without it, their names.
 *
 * @param client The client.
 * @param options How long to wait.
 * @returns The methods.
 */
export async function describe(
  client: JsonRpcClient,
  options: Pick<Arguments, "timeoutMs">,
): Promise<readonly DescribedMethod[]> {
  const { timeoutMs } = options;
  try {
    return toDocument(await client.call("rpc.discover", undefined, { timeoutMs })).methods;
  } catch (error) {
    if (!(error instanceof RpcMethodNotFoundError)) throw error;
    const names = await askNames(client, "get_methods", options);
    return names.map((name) => ({ name }));
  }
}

/**
 * Gives the positional arguments.
 *
 * @param args The arguments.
 * @param names The names of those that must be there.
 * @returns The arguments, at least that many.
 * @throws {UsageError} If one is missing.
 */
export function required<const Names extends readonly string[]>(
  args: Arguments,
  ...names: Names
): [...{ [Index in keyof Names]: string }, ...string[]] {
  const missing = names[args.positionals.length];
  if (missing !== undefined) throw new UsageError(`Missing ${missing}`);
  return [...args.positionals] as [...{ [Index in keyof Names]: string }, ...string[]];
}

async function withClient(
  url: string,
  args: Arguments,
  use: (client: JsonRpcClient) => Promise<void>,
): Promise<void> {
  const client = await openClient(url, args);
  try {
    await use(client);
  } finally {
    await client.close();
  }
}
