/**
 * The page of the counter. Each tab has a client, and the shared worker has the connection.
 */
import { connect } from "@x/jsonrpc/client";
import { sharedWorker } from "@x/jsonrpc/shared_worker";
import type { SharedWorkerLike } from "@x/jsonrpc/shared_worker";
import type { rpc } from "./rpc.ts";

// Your project has these types by "lib": ["dom"] in its tsconfig.json; here all files share one for servers.
declare const SharedWorker: new (url: string, options: { type: "module" }) => SharedWorkerLike;
declare const document: { getElementById(id: string): Element };
interface Element extends EventTarget {
  textContent: string;
}

const client = await connect<typeof rpc>(sharedWorker(
  // With a bundler such as Vite: new URL("./worker.ts", import.meta.url).
  () => new SharedWorker("/worker.js", { type: "module" }),
  { url: "/rpc" }, // for browsers without shared workers: this tab connects by itself
));

const show = (id: string, value: number): void => {
  document.getElementById(id).textContent = String(value);
};
await client.subscribe("count", (count) => show("count", count));
document.getElementById("more").addEventListener("click", () => void client.call("more"));
show("connections", await client.call("connections"));
