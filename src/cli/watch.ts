/**
 * The commands that go on: subscribe, stream.
 *
 * @module
 */

import process from "node:process";
import type { JsonRpcClient } from "../client/client.ts";
import { stream as readStream } from "../client/stream.ts";
import type { StreamOptions } from "../client/stream.ts";
import { RpcConnectionError, RpcError } from "../protocol/errors.ts";
import type { Arguments } from "./arguments.ts";
import { describe, required } from "./calls.ts";
import { UnsupportedError, UsageError } from "./errors.ts";
import { parseParams } from "./params.ts";
import { openClient, reportConnection } from "./target.ts";
import type { Terminal } from "./terminal.ts";

/** Prints the events of topics until Ctrl+C; with `--once` only those that each topic has kept. */
export async function subscribe(args: Arguments, terminal: Terminal): Promise<void> {
  const [url, ...topics] = required(args, "URL", "TOPIC");
  const { count, once, recover } = args;
  const last = args.last ?? (once ? 1 : 0);
  if (/^https?:/i.test(url)) throw new UsageError("subscribe needs a WebSocket: ws: or wss:");
  const client = await openClient(url, args, { reconnect: !once });
  reportConnection(client, terminal);
  const ended = Promise.withResolvers<void>();
  // Closing the client below also ends it, which then is no failure.
  ended.promise.catch(() => {});
  let left = count;
  function print(topic: string, data: unknown): void {
    if (left <= 0) return;
    const text = JSON.stringify(data ?? null);
    terminal.line(
      terminal.json
        ? `{"topic":${JSON.stringify(topic)},"data":${text}}`
        : `${terminal.bold(topic)} ${text}`,
    );
    if (--left <= 0) ended.resolve();
  }
  try {
    onEnd(client, ended);
    for (const topic of topics) {
      const onGap = () => terminal.note(`${topic}: events were lost`);
      await client.subscribe(topic, (data) => print(topic, data), { last, recover, onGap });
    }
    // The events that topics have kept arrive before this answer.
    if (once) await client.getTopics();
    else await ended.promise;
  } finally {
    await client.close();
  }
}

/** Prints the items of a stream until it ends, or until Ctrl+C. */
export async function stream(args: Arguments, terminal: Terminal): Promise<void> {
  const [url, method, ...words] = required(args, "URL", "METHOD");
  const params = parseParams(words);
  const client = await openClient(url, args);
  const interrupted = Promise.withResolvers<void>();
  let isInterrupted = false;
  process.once("SIGINT", () => {
    isInterrupted = true;
    interrupted.resolve();
    void client.close();
  });
  try {
    const names = await namesOf(method, client, args);
    let left = args.count;
    for await (const item of readStream(client, method, params, names)) {
      terminal.line(JSON.stringify(item ?? null));
      if (--left <= 0) break;
      // What reads the output sets the pace, and through the credit that of the server.
      await Promise.race([terminal.flushed(), interrupted.promise]);
    }
  } catch (error) {
    // Ctrl+C has closed the client, which is no failure.
    if (!isInterrupted) throw error;
  } finally {
    await client.close();
  }
}

/** The names of a subscription by id. */
type StreamNames = Pick<StreamOptions, "unsubscribe" | "notification">;

/**
 * Finds out how a method streams: by the options, else by the server's document, else by its name.
 *
 * @returns The names of its subscription by id; none if its result is the stream.
 * @throws {UsageError} If the options give one name, and the other one is not known.
 */
async function namesOf(
  method: string,
  client: JsonRpcClient,
  { unsubscribe, notification, timeoutMs }: Arguments,
): Promise<StreamNames | undefined> {
  if (unsubscribe !== undefined && notification !== undefined) return { unsubscribe, notification };
  const methods = await describe(client, { timeoutMs }).catch((error) => {
    // Servers of others may not say what they offer.
    if (error instanceof UnsupportedError || error instanceof RpcError) return [];
    throw error;
  });
  const own = methods.find(({ name }) => name === method);
  const known = own?.["x-stream"] ?? derivedNames(method);
  // A server that lists the method and not what would end it has none of the latter.
  const isEnded = own === undefined || methods.some(({ name }) => name === known?.unsubscribe);
  const isChosen = unsubscribe !== undefined || notification !== undefined;
  if (!isChosen) return isEnded ? known : undefined;
  const missing = unsubscribe === undefined ? "unsubscribe" : "notification";
  const found = known?.[missing];
  if (found !== undefined) {
    return { unsubscribe: unsubscribe ?? found, notification: notification ?? found };
  }
  throw new UsageError(`Missing --${missing}: it does not follow from the name "${method}"`);
}

/** The names that Ethereum's nodes would use: `eth_subscribe`, `eth_unsubscribe`, `eth_subscription`. */
function derivedNames(method: string): StreamNames | undefined {
  if (!method.endsWith("subscribe")) return undefined;
  const start = method.slice(0, -"subscribe".length);
  return { unsubscribe: `${start}unsubscribe`, notification: `${start}subscription` };
}

function onEnd(client: JsonRpcClient, { resolve, reject }: PromiseWithResolvers<void>): void {
  process.once("SIGINT", () => resolve());
  client.addEventListener("close", ({ code, reason, final }) => {
    if (final) {
      reject(new RpcConnectionError(`The server closed the connection (${code} ${reason})`));
    }
  });
}
