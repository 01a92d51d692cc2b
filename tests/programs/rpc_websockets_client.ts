/**
 * A client on `rpc-websockets`, used as the library of Solana uses it: rpc_websockets_client.ts URL
 */
import process from "node:process";
import { obey, say } from "./talking.ts";

interface Client {
  call(method: string, params?: unknown): Promise<unknown>;
  notify(method: string, params?: unknown): Promise<void>;
  subscribe(event: string): Promise<unknown>;
  unsubscribe(event: string): Promise<unknown>;
  on(event: string, listener: (value: never) => void): void;
  connect(): void;
  close(): void;
}

// In a variable: only the folder where this is run has the package.
const name = "rpc-websockets";
const { Client }: { Client: new (url: string, options: object) => Client } = await import(name);

const client = new Client(process.argv[2] ?? "", {
  autoconnect: false,
  max_reconnects: Infinity,
  reconnect_interval: 20,
});
client.on("open", () => say("open"));
client.on("close", (code: number) => say("close", code));
client.on("error", (error: Error) => say("error", String(error)));
client.on("slotNotification", (params: unknown) => say("slot", params));
client.on("news", (params: unknown) => say("news", params));
client.connect();

let subscription: unknown;
await obey({
  add: () => client.call("add", [1, 2]),
  fail: () => client.call("nothing").catch(({ code }) => code),
  // What keeps the connection alive.
  ping: () => client.notify("ping"),
  slots: async () => subscription = await client.call("slotSubscribe", []),
  noSlots: () => client.call("slotUnsubscribe", [subscription]),
  news: () => client.subscribe("news"),
  noNews: () => client.unsubscribe("news"),
});
client.close();
