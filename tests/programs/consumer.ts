/**
 * A project with the package and nothing beside it. The test of the package copies this file into a new project,
 * type-checks it there and runs it.
 */
import { connect, guard, JsonRpc, RpcInvalidParamsError, type } from "@x/jsonrpc";
import type { CallOptions, RpcRequest } from "@x/jsonrpc";
import { connect as connectClient, type JsonRpcClient } from "@x/jsonrpc/client";
import { linkedSockets } from "@x/jsonrpc/testing";

const open = guard(({ connection }) => connection.isOpen);
const rpc = new JsonRpc()
  .method("add", ({ a, b }: { a: number; b: number }) => a + b)
  .method("guarded", { use: [open] }, () => "seen")
  .method("refuse", () => {
    throw new RpcInvalidParamsError();
  })
  .addMethods("math", { double: ([x]: [number]) => 2 * x })
  .topic("clock", { retain: true, schema: type<string>() });
rpc.publish("clock", "12:00");

const [near, far] = linkedSockets();
rpc.attach(far);
const client = await connect<typeof rpc>(near);

const options: CallOptions = { timeoutMs: 0 };
const sum: number = await client.call("add", { a: 1, b: 2 }, options);
const four: number = await client.remote.math.double([2]);
const [seen, six]: [string, number] = await client.batch((b) => [
  b.call("guarded"),
  b.call("add", { a: 3, b: 3 }),
]);
console.log(sum, four, seen, six);

await client.subscribe("clock", (time) => console.log(time.toUpperCase()));
await client.call("refuse").catch((error) => console.log(error instanceof RpcInvalidParamsError));

const [here, there] = linkedSockets();
rpc.attach(there);
const untyped: JsonRpcClient = await connectClient(here);
untyped.method("name", (_params: unknown, request: RpcRequest) => request.method);
console.log(await untyped.call("add", { a: 2, b: 3 }));

await untyped.close();
await client.close();
console.log(await import("@x/jsonrpc/node").then(() => "./node loads", ({ message }) => message));

// Never run. If the compiler accepts one of these, the package's types have become `any`.
export async function refused(): Promise<void> {
  // @ts-expect-error -- no such method
  await client.call("nothing");
  // @ts-expect-error -- not these params
  await client.call("add", { a: "1", b: 2 });
  // @ts-expect-error -- not this result
  const text: string = await client.call("add", { a: 1, b: 2 });
  // @ts-expect-error -- no such topic
  rpc.publish("weather", text);
}
