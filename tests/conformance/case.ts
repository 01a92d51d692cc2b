/**
 * A conformance case, and the functions that add one.
 */
import { assertAlive, PATIENCE_MS, Post, RawSocket } from "../helpers/raw_client.ts";
import type { RawClient } from "../helpers/raw_client.ts";
import { call } from "../helpers/messages.ts";

/** Opens a connection to the server of a case. */
export type Open = () => Promise<RawSocket>;

/** A requirement that a server meets. */
export interface Case {
  /** The requirement, as a sentence. */
  readonly name: string;
  /**
   * What it needs: one connection that carries both directions, several of them, or a server of HTTP with
   * WebSockets. Only the last kind names a frame, a header, or a close code.
   */
  readonly needs: "a connection" | "connections" | "a server";
  /**
   * Rejects if the server does not meet it.
   *
   * @param url Where the server takes POSTs and WebSockets.
   * @param open Opens a connection; without it, a WebSocket.
   */
  run(url: string, open?: Open): Promise<void>;
}

/** All cases. */
export const cases: Case[] = [];

/** Adds a case over WebSocket and over POST, each of which must still answer at the end. */
export function overBoth(
  name: string,
  run: (client: RawClient, url: string) => Promise<void>,
): void {
  overWebSocket(`${name}, over WebSocket`, run);
  overPost(`${name}, over POST`, run);
}

/** Adds a case on one WebSocket, which must still answer at the end, with no message unread. */
export function overWebSocket(
  name: string,
  run: (client: RawSocket, url: string) => Promise<void>,
): void {
  cases.push({
    name,
    needs: "a connection",
    run: (url, open = () => RawSocket.open(url)) => through(open(), (client) => run(client, url)),
  });
}

/** Adds a case on several connections; the server must answer a new client at the end. */
export function overConnections(
  name: string,
  run: (open: Open, url: string) => Promise<void>,
): void {
  cases.push({
    name,
    needs: "connections",
    async run(url, open = () => RawSocket.open(url)) {
      await run(open, url);
      await (await open()).leave();
      await assertAlive(url);
    },
  });
}

/** Adds a case over POST. */
export function overPost(name: string, run: (post: Post, url: string) => Promise<void>): void {
  cases.push({
    name,
    needs: "a server",
    run: (url) => through(new Post(url), (post) => run(post, url)),
  });
}

/** Adds a case of a hostile client: its connections may end, but the server must answer a new client. */
export function hostile(name: string, run: (url: string) => Promise<void>): void {
  cases.push({ name, needs: "a server", run: (url) => run(url).then(() => assertAlive(url)) });
}

/** Runs a case with a client; at the end it disconnects, and checks the client if the case passed. */
export async function through<D extends RawClient>(
  opening: D | Promise<D>,
  run: (client: D) => Promise<void>,
): Promise<void> {
  const client = await opening;
  try {
    await run(client);
    await client.leave();
  } finally {
    client.disconnect();
  }
}

/** Polls until a condition holds; fails after a while. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !await holds();) {
    if (Date.now() > end) throw new Error(`${what} did not become true`);
  }
}

/** Sends a message, and gives the code of the error; `undefined` if it succeeded. */
export async function codeOf(client: RawClient, message: unknown): Promise<number | undefined> {
  return (await client.ask(message)).error?.code;
}

/** Waits until the server has noticed that all clients are gone. */
export async function noConnectionIsLeft(url: string): Promise<void> {
  await countIsZero(url, "connections");
}

/** Waits until the server has closed all connections, though some may still count. */
export async function noConnectionIsOpen(url: string): Promise<void> {
  await countIsZero(url, "open");
}

async function countIsZero(url: string, method: string): Promise<void> {
  const post = new Post(url);
  await eventually(`${method}: 0`, async () => (await post.ask(call(method, 1))).result === 0);
}

/** The server's limits that cases use. */
export const MAX_CONNECTIONS = 200;
export const MAX_MESSAGE_BYTES = 1_048_576;

/** Gives the text of a call that has a number of bytes. */
export function callOf(bytes: number): string {
  const rest = JSON.stringify(call("note", 1, [""])).length;
  return JSON.stringify(call("note", 1, ["a".repeat(bytes - rest)]));
}

let lastKey = 0;

/** Gives a key that no other case uses, under which to count side effects. */
export function newKey(): string {
  return `key ${++lastKey}`;
}

/** Asks how often methods have noted a key. */
export async function notedOf(client: RawClient, key: string): Promise<unknown> {
  return (await client.ask(call("noted", "noted", [key]))).result;
}
