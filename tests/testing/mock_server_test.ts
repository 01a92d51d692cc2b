import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { Ajv } from "ajv";
import { z } from "zod";
import { JsonRpc, RpcInternalError, RpcInvalidParamsError } from "@x/jsonrpc";
import type { RpcError } from "@x/jsonrpc";
import { mockServer, testClient } from "@x/jsonrpc/testing";
import type { MockServerOptions, OpenRpcDocument } from "@x/jsonrpc/testing";
import { sample } from "../../src/testing/sample.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

const DOCUMENT: OpenRpcDocument = {
  methods: [
    {
      name: "users.get",
      summary: "One user",
      params: [{ name: "id", required: true, schema: { type: "integer", minimum: 1 } }],
      result: { name: "user", schema: { $ref: "#/components/schemas/User" } },
      examples: [
        { params: [{ name: "id", value: 1 }], result: { value: { id: 1, name: "Ada" } } },
        { params: [{ name: "id", value: 2 }], result: { value: { id: 2, name: "Bob" } } },
      ],
    },
    {
      name: "users.list",
      params: [],
      result: {
        name: "users",
        schema: { type: "array", items: { $ref: "#/components/schemas/User" } },
      },
    },
    {
      name: "move",
      paramStructure: "by-position",
      params: [
        { name: "x", required: true, schema: { type: "number" } },
        { name: "y", schema: { type: "number" } },
      ],
      result: { $ref: "#/components/contentDescriptors/Done" },
    },
    {
      name: "code",
      params: [],
      result: { name: "code", schema: { type: "string", pattern: "^[0-9]{6}$" } },
    },
  ],
  "x-topics": [{ name: "joined", schema: { $ref: "#/components/schemas/User" } }],
  components: {
    schemas: {
      User: {
        type: "object",
        properties: {
          id: { type: "integer", minimum: 1 },
          name: { type: "string" },
          friends: { type: "array", items: { $ref: "#/components/schemas/User" } },
        },
        required: ["id", "name"],
      },
    },
    contentDescriptors: { Done: { name: "done", schema: { const: "done" } } },
  },
};

function mock(options: MockServerOptions = {}) {
  return mockServer(DOCUMENT, { logger: silentLog(), ...options });
}

test("mockServer() answers with the example of the same params, or with the first", async () => {
  await using client = await testClient(await mock());
  assertEquals(await client.call("users.get", { id: 2 }), { id: 2, name: "Bob" });
  assertEquals(await client.call("users.get", [2]), { id: 2, name: "Bob" });
  assertEquals(await client.call("users.get", { id: 7 }), { id: 1, name: "Ada" });
});

test("mockServer() makes a result out of its schema, also out of a recursive one", async () => {
  await using client = await testClient(await mock());
  const users = await client.call("users.list") as { id: number; friends: unknown[] }[];
  assertEquals(users.map(({ id }) => id), [1]);
  assert(users.every(({ friends }) => Array.isArray(friends)));
  assertEquals(await client.call("move", [1, 2]), "done");
});

test("mockServer() refuses params that do not fit, and says where", async () => {
  await using client = await testClient(await mock());
  for (const params of [undefined, {}, { id: "1" }, { id: 0 }, { id: 1, more: 2 }, [1, 2]]) {
    await assertRejects(() => client.call("users.get", params), RpcInvalidParamsError);
  }
  for (const params of [[], [1, 2, 3], { x: 1 }]) {
    await assertRejects(() => client.call("move", params), RpcInvalidParamsError);
  }
  const error = await client.call("users.get", { id: "1" }).catch((error: RpcError) => error);
  assertEquals((error as RpcError).data, [{ message: "must be integer", path: ["id"] }]);
});

test("mockServer() takes handlers, whose results have to fit too", async () => {
  const handlers = {
    "users.get": ({ id }: { id: number }) => id === 9 ? { id: "nine" } : { id, name: `No. ${id}` },
    code: () => "123456",
  };
  await using client = await testClient(await mock({ handlers }));
  assertEquals(await client.call("users.get", { id: 7 }), { id: 7, name: "No. 7" });
  assertEquals(await client.call("code"), "123456");
  await assertRejects(() => client.call("users.get", { id: 9 }), RpcInternalError);
  const wrong = { handlers: { "users.gte": () => 1 } };
  await assertRejects(() => mock(wrong), TypeError, '"users.gte"');
});

test("mockServer() says which method needs an example", async () => {
  await using client = await testClient(await mock());
  const error = await client.call("code").catch((error: RpcError) => error) as RpcError;
  assertStringIncludes(error.message, 'Give "code" an example or a handler');
});

test("mockServer() publishes events that fit the document", async () => {
  const rpc = await mock();
  await using client = await testClient(rpc);
  const received: unknown[] = [];
  await client.subscribe("joined", (user) => received.push(user));
  rpc.publish("joined", { id: 3, name: "Eve" });
  await until(() => received.length === 1);
  assertEquals(received, [{ id: 3, name: "Eve" }]);
});

test("mockServer() stands in for a server of this module, out of its own document", async () => {
  const rpc = new JsonRpc({ info: { title: "Shop", version: "2.0.0" } })
    .method(
      "orders.find",
      {
        params: z.object({ text: z.string(), limit: z.number().max(50).optional() }),
        result: z.array(z.object({ id: z.uuid(), at: z.iso.datetime(), price: z.number() })),
      },
      () => [],
    )
    .method("move", { params: z.tuple([z.number(), z.string()]) }, ([x]) => x)
    .method("echo", (params: unknown) => params)
    .topic("clock", { schema: z.string() });
  await using real = await testClient(rpc);
  const document = await (real as unknown as { call(name: string): Promise<OpenRpcDocument> })
    .call("rpc.discover");
  const mocked = await mockServer(document, { logger: silentLog() });
  await using client = await testClient(mocked);
  const orders = await client.call("orders.find", { text: "a" }) as { id: string }[];
  assertEquals(orders.length, 1);
  await assertRejects(() => client.call("orders.find", { limit: 1 }), RpcInvalidParamsError);
  assertEquals(await client.call("echo", [1, 2]), null);
  const again = await client.call("rpc.discover") as OpenRpcDocument;
  const names = (each: OpenRpcDocument) =>
    each.methods.map((method) => "name" in method ? method.name : "").sort();
  assertEquals([names(again), again.info], [names(document), document.info]);
});

test("the values that stand in for results fit their schemas", () => {
  const schemas = [
    { type: "integer", minimum: 10, maximum: 12 },
    { type: "number", exclusiveMinimum: 1, exclusiveMaximum: 2 },
    { type: "number", maximum: -5 },
    { type: "integer", multipleOf: 7, minimum: 20 },
    { type: "string", minLength: 9, maxLength: 12 },
    { type: ["null", "string"] },
    { enum: ["b", "a"] },
    { anyOf: [{ type: "string" }, { type: "null" }] },
    {
      allOf: [
        { type: "object", properties: { a: { type: "number" } }, required: ["a"] },
        { type: "object", properties: { b: { type: "boolean" } }, required: ["b"] },
      ],
    },
    { type: "array", items: { type: "string" }, minItems: 3 },
    {
      type: "array",
      items: [{ type: "string" }, { type: "number" }],
      minItems: 2,
      additionalItems: false,
    },
    { type: "object", properties: { in: { type: "object", properties: { x: { const: 1 } } } } },
    { type: "array", maxItems: 0, items: {} },
    true,
  ];
  const ajv = new Ajv({ strict: false });
  for (const schema of schemas) {
    const value = sample(schema, () => true);
    assert(ajv.compile(schema)(value), `${JSON.stringify(value)} for ${JSON.stringify(schema)}`);
  }
});
