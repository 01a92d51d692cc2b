/**
 * The connection of a command to its server.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { JsonRpcClient } from "../client/client.ts";
import type { ClientOptions, ClientTarget } from "../client/client.ts";
import { toTransport } from "../client/transport.ts";
import type { Transport } from "../core/transport.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { endedSocket } from "../transports/ended_socket.ts";
import { spawned } from "../transports/stdio.ts";
import type { Arguments } from "./arguments.ts";
import { UsageError } from "./errors.ts";
import { splitWords } from "./params.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Connects to the server that the arguments name.
 *
 * @param url The URL; without a scheme it is a WebSocket's. Or `stdio:` and a program.
 * @param args Headers, token, user and timeout.
 * @param options More options of the client.
 * @returns The client. Rejects with `RpcConnectionError` if there is no connection.
 */
export async function openClient(
  url: string,
  args: Arguments,
  options: ClientOptions = {},
): Promise<JsonRpcClient> {
  const { timeoutMs, user } = args;
  const isHttp = /^https?:/i.test(url);
  if (isHttp && user !== undefined) {
    throw new UsageError(
      "--user needs a WebSocket: over HTTP each call is a connection of its own",
    );
  }
  const prepare = user === undefined ? undefined : await login(user);
  const [target, known] = toClientTarget(url, args);
  const client = new JsonRpcClient(target, {
    logger: SILENT,
    reconnect: false,
    connectMs: timeoutMs,
    ...known,
    ...prepare !== undefined && { prepare },
    ...options,
  });
  try {
    await client.connect();
    return client as unknown as JsonRpcClient;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/**
 * Gives the transport to the server that the arguments name.
 *
 * @param url The URL, as for {@linkcode openClient}.
 * @param args Headers and token.
 * @returns The transport. It has not connected yet.
 */
export function openTransport(url: string, args: Arguments): Transport {
  const [target, options] = toClientTarget(url, args);
  const Socket = socketWith(options.headers as Record<string, string>);
  // A function that is called with `new` may return another object.
  function EndedSocket(url: string, protocols?: string[]): StandardSocket {
    return endedSocket(new Socket(url, protocols));
  }
  const EndedSocketClass = EndedSocket as unknown as new (url: string) => StandardSocket;
  return toTransport(target, { ...options, WebSocket: EndedSocketClass });
}

/**
 * Gives what opens a server's door, which is shown to nobody, also not if the server itself sends it back.
 *
 * @param args Headers, token, user and the URL.
 * @returns The secrets. Those of a few characters could stand in any text, and are left out.
 */
export function secretsOf({ headers, positionals: [url = ""], token, user }: Arguments): string[] {
  const { password = "", searchParams } = URL.canParse(url) ? new URL(url) : {};
  const texts = [
    token,
    user?.slice(user.indexOf(":") + 1 || user.length),
    process.env.JSONRPC_PASSWORD,
    password,
    unescaped(password),
    ...Object.values(headers).flatMap((value) => [value, value.replace(/^\S+\s+/, "")]),
    ...searchParams?.values() ?? [],
  ];
  return texts.filter((text) => text !== undefined && text.length >= SHORTEST_SECRET) as string[];
}

function credentials(
  { headers: given, token }: Arguments,
  basic: Record<string, string>,
): ClientOptions {
  const hasOwn = Object.keys(given).some((name) => name.toLowerCase() === "authorization");
  const headers = hasOwn || token !== undefined ? given : { ...basic, ...given };
  return {
    headers,
    ...token !== undefined && { token },
    ...Object.keys(headers).length > 0 && { WebSocket: socketWith(headers) },
  };
}

/** Reports what happens to the connection of a command that goes on. */
export function reportConnection(client: JsonRpcClient, terminal: Terminal): void {
  client.addEventListener("reconnecting", ({ attempt, delayMs }) => {
    terminal.note(`Connection lost: attempt ${attempt} in ${Math.round(delayMs)} ms`);
  });
  client.addEventListener("resubscribed", ({ topics }) => {
    terminal.note(`Connected again: ${topics.join(", ")}`);
  });
}

/** A URL, or the program behind `stdio:`, and the options for it. */
function toClientTarget(
  url: string,
  args: Arguments,
): [target: ClientTarget, options: ClientOptions] {
  if (!url.startsWith("stdio:")) {
    const [target, basic] = withoutUser(toTarget(url));
    return [target, credentials(args, basic)];
  }
  const [program, ...words] = splitWords(url.slice("stdio:".length));
  if (program === undefined) throw new UsageError("Expected a program behind stdio:");
  return [spawned([program, ...words]), credentials(args, {})];
}

/**
 * Completes a URL.
 *
 * @throws {UsageError} If no client can connect there.
 */
export function toTarget(url: string): string {
  const target = /^[a-z][a-z\d+.-]*:\/\//i.test(url) ? url : `ws://${url}`;
  if (/^(?:ws|http)s?:/i.test(target) && URL.canParse(target)) return target;
  // Its rest may hold a password.
  const scheme = /^[a-z][a-z\d+.-]*:(?=\/\/)/i.exec(url)?.[0] ?? "no URL";
  throw new UsageError(
    `Expected a ws:, wss:, http: or https: URL, or stdio:PROGRAM, got ${scheme}`,
  );
}

/**
 * Takes the user and the password out of a URL: `fetch` refuses URLs that have them, and the WebSocket of
 * Node does not send them.
 *
 * @param target The URL.
 * @returns The URL without them, and the header in which a browser would send them.
 */
export function withoutUser(target: string): [url: string, headers: Record<string, string>] {
  const url = new URL(target);
  const { username, password } = url;
  if (username === "" && password === "") return [target, {}];
  url.username = url.password = "";
  const credentials = `${unescaped(username)}:${unescaped(password)}`;
  const authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
  return [url.href, { authorization }];
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * Shows where a command connects: the origin of a URL, or the name of a program. User, password, path,
 * query and the arguments of a program may hold secrets.
 *
 * @param url The URL, as for {@linkcode openClient}.
 * @returns What may be printed.
 */
export function shownTarget(url: string): string {
  return url.startsWith("stdio:") ? splitWords(url)[0] ?? url : new URL(toTarget(url)).origin;
}

/**
 * Gives a class of WebSockets that send headers. The standard WebSocket of Deno, Bun and Node can.
 *
 * @param headers The headers.
 * @returns The class.
 */
export function socketWith(
  headers: Readonly<Record<string, string>>,
): new (url: string, protocols?: string[]) => StandardSocket {
  const Socket = WebSocket as unknown as new (url: string, options: object) => StandardSocket;
  // A function that is called with `new` may return another object.
  function SocketWithHeaders(url: string, protocols: string[] = []): StandardSocket {
    return new Socket(url, { headers, protocols });
  }
  return SocketWithHeaders as unknown as new (url: string) => StandardSocket;
}

/** Logs in on each new connection, as the backend `./passwd` offers it. */
async function login(user: string): Promise<NonNullable<ClientOptions["prepare"]>> {
  const end = user.indexOf(":");
  const username = end === -1 ? user : user.slice(0, end);
  const password = end === -1 ? await askPassword(username) : user.slice(end + 1);
  return async (connection) => {
    const isLoggedIn = await connection.call("login", { username, password });
    if (isLoggedIn === false) throw new Error(`wrong user name or password of ${username}`);
  };
}

async function askPassword(username: string): Promise<string> {
  const { JSONRPC_PASSWORD } = process.env;
  if (JSONRPC_PASSWORD !== undefined) return JSONRPC_PASSWORD;
  if (process.stdin.isTTY !== true) {
    throw new UsageError("No password: set JSONRPC_PASSWORD, or pass --user name:password");
  }
  process.stderr.write(`Password of ${username}: `);
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output, terminal: true });
  const password = await reader.question("");
  reader.close();
  process.stderr.write("\n");
  return password;
}

const SHORTEST_SECRET = 8;
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
