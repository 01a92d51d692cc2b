import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Ajv } from "ajv";
import * as metaSchema from "@open-rpc/meta-schema";
import { type as ark } from "arktype";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { z } from "zod";
import { connect, guard, JsonRpc } from "@x/jsonrpc";
import type { JsonRpcClient, JsonRpcOptions } from "@x/jsonrpc";
import { jwt } from "@x/jsonrpc/jwt";
import { passwd } from "@x/jsonrpc/passwd";
import type { Plugin } from "@x/jsonrpc/plugin";
import { presence } from "@x/jsonrpc/presence";
import { pair } from "../helpers/client.ts";
import { serveHere } from "../helpers/server.ts";

interface Document {
  readonly openrpc: string;
  readonly servers?: unknown;
  readonly methods: readonly DocumentMethod[];
  readonly components?: { readonly schemas: Readonly<Record<string, unknown>> };
  readonly "x-topics"?: readonly { readonly name: string; readonly schema: unknown }[];
  readonly "x-client-methods"?: readonly DocumentMethod[];
}

interface DocumentMethod {
  readonly name: string;
  readonly paramStructure: string;
  readonly params: readonly { name: string; required?: boolean; schema: unknown }[];
  readonly result: { readonly schema: unknown };
  readonly errors?: unknown;
  readonly "x-error-data"?: unknown;
  readonly "x-stream"?: unknown;
}

const Tree = z.object({
  value: z.number(),
  get children() {
    return z.array(Tree);
  },
});
const nobody = guard(() => false);

function shop(options: JsonRpcOptions = {}) {
  return new JsonRpc(options)
    .client<{ confirm(params: { message: string }): boolean }>({
      confirm: { params: z.object({ message: z.string() }), result: z.boolean() },
    })
    .method(
      "find",
      { params: z.object({ text: z.string(), limit: z.number().optional() }), result: z.number() },
      ({ text }) => text.length,
    )
    .method(
      "move",
      { params: z.tuple([z.number(), z.number().optional()]) },
      ([x, y]) => [x, y ?? 0],
    )
    .method("ark", { params: ark(["string", "number"]) }, ([text, n]) => text + n)
    .method("grow", { params: Tree, result: z.object({ tree: Tree }) }, (tree) => ({ tree }))
    .method("buy", {
      errors: {
        outOfStock: { code: 409, data: z.object({ left: z.number() }) },
        closed: { code: 1 },
      },
    }, () => 1)
    .topic("clock", { schema: z.object({ time: z.string() }) })
    .topic("room.*")
    .topic("secret", { guards: [nobody] });
}

// deno-lint-ignore no-explicit-any -- any server
async function discover(rpc: JsonRpc<any>): Promise<Document> {
  await using client = await pair(rpc);
  return await (client as unknown as JsonRpcClient).call("rpc.discover") as Document;
}

/** Compiles the meta-schema of OpenRPC. */
function metaValidator() {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  const { openrpcDocument } = metaSchema as unknown as { openrpcDocument: object };
  // The meta-schema refers to that of JSON Schema, which lies on a server.
  const schema = JSON.parse(JSON.stringify(openrpcDocument), (key, value) => {
    const isRemote = key === "$ref" && String(value).startsWith("https://");
    return key === "$schema" || isRemote ? undefined : value;
  });
  return ajv.compile(schema);
}

const isOpenRpc = metaValidator();

test("rpc.discover is valid by the meta-schema of OpenRPC", async () => {
  for (const openRpcVersion of ["1.2.6", "1.3.2"]) {
    const document = await discover(shop({ openRpcVersion }));
    assertEquals(document.openrpc, openRpcVersion);
    assert(isOpenRpc(document), JSON.stringify(isOpenRpc.errors));
    assertEquals(document.openrpc, openRpcVersion);
  }
});

test("rpc.discover describes params and results of each method that servers and backends have", async () => {
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const folder = await mkdtemp(join(tmpdir(), "discover-"));
  const file = join(folder, "passwd");
  await writeFile(file, "");
  const tokens = { secret };
  try {
    for (
      const [plugin, names] of [
        [jwt({ secret, algorithms: ["HS256"] }), { login: ["token"] }],
        [await passwd(file, { tokens }), {
          login: ["username", "password"],
          login_with_token: ["token"],
        }],
        [presence("clock"), { presence: ["topic"] }],
      ] as const
    ) {
      const document = await discover(shop().use(plugin as Plugin));
      assert(isOpenRpc(document), JSON.stringify(isOpenRpc.errors));
      const found = byName(document);
      for (const [name, params] of Object.entries({ ...COMMON, ...names })) {
        assertEquals(found[name]?.params.map(({ name }) => name), params, name);
        for (const { required, schema } of found[name]?.params ?? []) {
          assertEquals([typeof required, typeof schema], ["boolean", "object"]);
        }
        assertNotEquals(found[name]?.result.schema, {}, name);
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

const COMMON: Readonly<Record<string, string[]>> = {
  get_methods: [],
  get_topics: [],
  get_subscriptions: [],
  subscribe: ["topics", "recover", "since", "last", "retained", "ages"],
  unsubscribe: ["topics"],
  "rpc.stream": ["method", "params", "token", "credit"],
  "rpc.credit": ["token", "credit"],
};

test("rpc.discover names a version of OpenRPC that all tools accept", async () => {
  assertEquals((await discover(shop())).openrpc, "1.2.6");
});

test("rpc.discover says which params are required", async () => {
  const { find } = byName(await discover(shop()));
  assertEquals(find?.params, [
    { name: "text", required: true, schema: { type: "string" } },
    { name: "limit", required: false, schema: { type: "number" } },
  ]);
});

test("rpc.discover shows tuples as params by position", async () => {
  const { move, ark } = byName(await discover(shop()));
  assertEquals([move?.paramStructure, ark?.paramStructure], ["by-position", "by-position"]);
  assertEquals(move?.params, [
    { name: "param1", required: true, schema: { type: "number" } },
    { name: "param2", required: false, schema: { type: "number" } },
  ]);
  assertEquals(ark?.params.map(({ schema }) => schema), [{ type: "string" }, { type: "number" }]);
});

test("rpc.discover has the definitions of recursive schemas among its components", async () => {
  const document = await discover(shop());
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)];
  assert(references.length > 0);
  for (const [, path = ""] of references) {
    let found: unknown = document;
    for (const key of path.split("/")) found = (found as Record<string, unknown>)?.[key];
    assertEquals(typeof found, "object", path);
  }
});

test("rpc.discover lists topics, methods of clients, and declared errors", async () => {
  const document = await discover(shop());
  assertEquals(document["x-topics"]?.map(({ name }) => name), ["clock", "room.*"]);
  assertEquals(document["x-client-methods"]?.map(({ name, params }) => [name, params]), [
    ["confirm", [{ name: "message", required: true, schema: { type: "string" } }]],
  ]);
  const { buy } = byName(document);
  assertEquals(buy?.errors, [
    { code: 409, message: "outOfStock" },
    { code: 1, message: "closed" },
  ]);
  assertEquals(Object.keys(buy?.["x-error-data"] ?? {}), ["outOfStock"]);
});

function byName({ methods }: Document): Readonly<Record<string, DocumentMethod | undefined>> {
  return Object.fromEntries(methods.map((method) => [method.name, method]));
}

test("rpc.discover says where the server is, as the caller has reached it or as the option says", async () => {
  await using served = await serveHere(shop());
  await using socket = await connect(`${served.ws}/rpc?token=secret`);
  await using post = await connect(`${served.url}/rpc?token=secret`);
  const clients = [socket, post] as unknown as JsonRpcClient[];
  const documents = await Promise.all(clients.map((each) => each.call("rpc.discover")));
  assertEquals(documents.map((each) => (each as Document).servers), [
    [{ name: "this server", url: `${served.ws}/rpc` }],
    [{ name: "this server", url: `${served.url}/rpc` }],
  ]);
  for (const document of documents) assert(isOpenRpc(document), JSON.stringify(isOpenRpc.errors));
  // Two linked sockets have no URL.
  assertEquals((await discover(shop())).servers, undefined);
  const servers = [{ name: "production", url: "wss://shop.example/rpc" }];
  assertEquals((await discover(shop({ servers }))).servers, servers);
});

test("rpc.discover names what ends a subscription by id, and its notification", async () => {
  const names = { unsubscribe: "ticks.end", notification: "tick" };
  const rpc = new JsonRpc().stream("ticks", names, () => [1]).method("add", () => 1);
  await using client = await pair(rpc) as unknown as JsonRpcClient & AsyncDisposable;
  const { methods } = await client.call("rpc.discover") as unknown as Document;
  const told = methods.filter((method) => "x-stream" in method)
    .map((method) => [method.name, method["x-stream"]]);
  assertEquals(told, [["ticks", names]]);
});
