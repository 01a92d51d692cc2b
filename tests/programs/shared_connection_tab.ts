/**
 * The page of a tab that talks over a shared worker. A test drives it by `window.tab`.
 */
import { connect } from "@x/jsonrpc/client";
import { sharedWorker } from "@x/jsonrpc/shared_worker";
import type { SharedWorkerLike } from "@x/jsonrpc/shared_worker";

declare const SharedWorker: new (
  url: string,
  options: { type: "module"; name: string },
) => SharedWorkerLike;
declare const document: { title: string };

const query = new URL(location.href).searchParams;
const script = query.get("worker") ?? "/shared_connection_worker.js";
const version = query.get("version") ?? "";
const transport = sharedWorker(() => new SharedWorker(script, { type: "module", name: version }));
const client = await connect(transport, {
  maxMessageBytes: 2 ** 24,
  reconnect: { minMs: 20, maxMs: 100 },
}).catch((error: Error) => {
  document.title = error.message;
  // The page goes no further, and the test has seen why.
  return new Promise<never>(() => {});
});
const name = query.get("name");
const heard: unknown[] = [];
const closes: number[] = [];

client.addEventListener("close", ({ code }) => closes.push(code));
client.method("who", () => name);
await client.subscribe("news", (data) => heard.push(data), { recover: true });
await client.subscribe(`own.${name}`, (data) => heard.push(data));

Object.assign(globalThis, { tab: { client, heard, closes } });
document.title = "ready";
