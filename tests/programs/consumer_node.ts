/**
 * A project with the package and the peers of `./node`: serves on a real socket, and calls.
 */
import { connect, JsonRpc } from "@x/jsonrpc";
import { type NodeServer, serve } from "@x/jsonrpc/node";

const rpc = new JsonRpc()
  .method("add", ({ a, b }: { a: number; b: number }) => a + b)
  .method("ask", (_params: unknown, request) => request.confirm("Sure?"))
  .topic("clock");

const server: NodeServer = await serve(rpc, { port: 0, hostname: "127.0.0.1" });
const client = await connect<typeof rpc>(server.url.replace("http:", "ws:"));
const posting = await connect<typeof rpc>(server.url);

client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
const heard = new Promise((resolve) => client.subscribe("clock", resolve));
await client.getSubscriptions();
rpc.publish("clock", "12:00");

const sums: number[] = [
  await client.call("add", { a: 1, b: 2 }),
  await posting.call("add", { a: 3, b: 4 }),
];
console.log(...sums, await client.call("ask"), await heard);

// A client that was connected tries again; the first connect() of another one rejects.
const trying = new Promise<number>((resolve) => {
  client.addEventListener("reconnecting", ({ attempt }) => attempt === 2 && resolve(attempt));
});
await posting.close();
await server.close();
const failure = await connect(server.url.replace("http:", "ws:")).catch(({ name }) => name);
console.log(failure, await trying);
await client.close();
