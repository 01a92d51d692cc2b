/**
 * A client of `server.ts`: it calls methods, is called back, and receives three ticks of the clock.
 *
 *     deno run -A examples/client.ts ws://localhost:8080
 */
import process from "node:process";
import { connect, RpcError } from "@x/jsonrpc/client";
import type { rpc } from "./server.ts";

const client = await connect<typeof rpc>(process.argv[2] ?? "ws://localhost:8080");

console.log("ping:", await client.call("ping"));
console.log("1 + 2:", await client.remote.add({ a: 1, b: 2 }));

try {
  await client.call("add", { a: 1, b: "two" as never });
} catch (error) {
  if (!(error instanceof RpcError)) throw error;
  console.log("1 + two:", error.code, error.message, "-", error.data);
}

client.method("confirm", ({ message }: { message: string }) => {
  console.log("The server asks:", message);
  return false;
});
console.log("the disk was", await client.call("format_disk"));

const { promise: done, resolve } = Promise.withResolvers<void>();
let ticks = 0;
const clock = await client.subscribe("clock", (time) => {
  console.log("clock:", time);
  if (++ticks === 3) resolve();
});
await done;
await clock.unsubscribe();
await client.close();
