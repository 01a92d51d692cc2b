/**
 * The commands that go on: subscribe, stream.
 *
 * @module
 */

import process from "node:process";
import type { JsonRpcClient } from "../client/client.ts";
import { stream as readStream } from "../client/stream.ts";
import { RpcConnectionError } from "../protocol/errors.ts";
import type { Arguments } from "./arguments.ts";
import { required } from "./calls.ts";
import { UsageError } from "./errors.ts";
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
  const names = {
    unsubscribe: args.unsubscribe ?? derived(method, "unsubscribe"),
    notification: args.notification ?? derived(method, "subscription"),
  };
  const client = await openClient(url, args);
  process.once("SIGINT", () => void client.close());
  try {
    let left = args.count;
    for await (const item of readStream(client, method, params, names)) {
      terminal.line(JSON.stringify(item ?? null));
      if (--left <= 0) break;
    }
  } finally {
    await client.close();
  }
}

/** The name that Ethereum's nodes would use: `eth_subscribe`, `eth_unsubscribe`, `eth_subscription`. */
function derived(method: string, word: "unsubscribe" | "subscription"): string {
  if (method.endsWith("subscribe")) return method.slice(0, -"subscribe".length) + word;
  const option = word === "subscription" ? "notification" : word;
  throw new UsageError(`Missing --${option}: it does not follow from the name "${method}"`);
}

function onEnd(client: JsonRpcClient, { resolve, reject }: PromiseWithResolvers<void>): void {
  process.once("SIGINT", () => resolve());
  client.addEventListener("close", ({ code, reason, final }) => {
    if (final) {
      reject(new RpcConnectionError(`The server closed the connection (${code} ${reason})`));
    }
  });
}
