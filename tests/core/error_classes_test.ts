import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, RpcError } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";

class OutOfStock extends RpcError {
  override readonly name = "OutOfStock";
}

test("an error arrives as the class that both sides registered, in both directions", async () => {
  const errors = { 409: OutOfStock };
  const rpc = new JsonRpc({ errors })
    .method("buy", () => {
      throw new OutOfStock(409, "Sold out", { data: { left: 0 } });
    })
    .method("ask", async (_params, request) => {
      const error = await request.call<RpcError>("refuse").catch((error) => error);
      return [error instanceof OutOfStock, error.name, error.data];
    });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect<typeof rpc>(near, { errors });
  client.method("refuse", () => {
    throw new OutOfStock(409, "Not here", { data: 7 });
  });
  const error = await client.call("buy").catch((error) => error);
  assert(error instanceof OutOfStock);
  assertEquals([error.code, error.message, error.data], [409, "Sold out", { left: 0 }]);
  assertEquals(await client.call("ask"), [true, "OutOfStock", 7]);
});

test("an error of another code keeps its class", async () => {
  const rpc = new JsonRpc().method("buy", () => {
    throw new RpcError(402, "No money");
  });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect<typeof rpc>(near, { errors: { 409: OutOfStock } });
  const error = await client.call("buy").catch((error) => error);
  assertEquals([error.constructor, error.code], [RpcError, 402]);
});
