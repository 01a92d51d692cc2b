/**
 * The page of a tab that talks over a shared worker. A test drives it by `window.tab`.
 */
import { connect } from "@x/jsonrpc/client";
import { sharedWorker } from "@x/jsonrpc/shared_worker";
import type { SharedWorkerLike } from "@x/jsonrpc/shared_worker";

declare const SharedWorker: new (url: string, options: { type: "module" }) => SharedWorkerLike;
declare const document: { title: string };

const transport = sharedWorker(() =>
  new SharedWorker("/shared_connection_worker.js", { type: "module" })
);
const client = await connect(transport, {
  maxMessageBytes: 2 ** 24,
  reconnect: { minMs: 20, maxMs: 100 },
});
const name = new URL(location.href).searchParams.get("name");
const heard: unknown[] = [];
const closes: number[] = [];

client.addEventListener("close", ({ code }) => closes.push(code));
client.method("who", () => name);
await client.subscribe("news", (data) => heard.push(data), { recover: true });
await client.subscribe(`own.${name}`, (data) => heard.push(data));

Object.assign(globalThis, { tab: { client, heard, closes } });
document.title = "ready";
