/**
 * What a case is, and the ways to add one.
 */
import { assertAlive, PATIENCE_MS, Post, RawSocket } from "../helpers/raw_client.ts";
import type { RawClient } from "../helpers/raw_client.ts";
import { call } from "../helpers/messages.ts";

/** Something that holds of a server. */
export interface Case {
  /** What holds, as a sentence. */
  readonly name: string;
  /** Fails if it does not. */
  run(url: string): Promise<void>;
}

/** All that holds. */
export const cases: Case[] = [];

/** Adds what holds over both doors, each of which is still good for an answer at the end. */
export function both(name: string, run: (client: RawClient, url: string) => Promise<void>): void {
  line(`${name}, over WebSocket`, run);
  post(`${name}, over POST`, run);
}

/** Adds what holds on one WebSocket, which still answers at the end and has nothing left to say. */
export function line(name: string, run: (line: RawSocket, url: string) => Promise<void>): void {
  cases.push({ name, run: (url) => through(RawSocket.open(url), (line) => run(line, url)) });
}

/** Adds what holds over POST. */
export function post(name: string, run: (post: Post, url: string) => Promise<void>): void {
  cases.push({ name, run: (url) => through(new Post(url), (post) => run(post, url)) });
}

/** Adds what may cost a connection: whoever comes afterwards is answered. */
export function hostile(name: string, run: (url: string) => Promise<void>): void {
  cases.push({ name, run: (url) => run(url).then(() => assertAlive(url)) });
}

/** Goes through a client, and leaves by it: politely if all went well, in any case. */
export async function through<D extends RawClient>(
  opening: D | Promise<D>,
  run: (client: D) => Promise<void>,
): Promise<void> {
  const client = await opening;
  try {
    await run(client);
    await client.leave();
  } finally {
    client.hangUp();
  }
}

/** Asks again and again until something holds, or patience ends. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !await holds();) {
    if (Date.now() > end) throw new Error(`${what} did not come true`);
  }
}

/** Asks, and gives the code of the error; `undefined` if there is none. */
export async function codeOf(client: RawClient, message: unknown): Promise<number | undefined> {
  return (await client.ask(message)).error?.code;
}

/** Waits until the server has noticed that everybody is gone. */
export async function placesAreFree(url: string): Promise<void> {
  await countIsZero(url, "connections");
}

/** Waits until the server talks to nobody any more, though some may not be gone yet. */
export async function nobodyIsOpen(url: string): Promise<void> {
  await countIsZero(url, "open");
}

async function countIsZero(url: string, method: string): Promise<void> {
  const post = new Post(url);
  await eventually(`${method}: 0`, async () => (await post.ask(call(method, 1))).result === 0);
}

/** The server's limits that cases go up to. */
export const MAX_CONNECTIONS = 200;
export const MAX_MESSAGE_BYTES = 1_048_576;

/** The text of a call that has so many bytes. */
export function callOf(bytes: number): string {
  const rest = JSON.stringify(call("note", 1, [""])).length;
  return JSON.stringify(call("note", 1, ["a".repeat(bytes - rest)]));
}

let lastKey = 0;

/** A key that no other case uses, to count side effects by. */
export function newKey(): string {
  return `key ${++lastKey}`;
}

/** How often a method has left its mark under a key. */
export async function notedOf(client: RawClient, key: string): Promise<unknown> {
  return (await client.ask(call("noted", "noted", [key]))).result;
}
