import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { generateTypes } from "@x/jsonrpc/codegen";
import type { OpenRpcDocument } from "@x/jsonrpc/codegen";
import { pair } from "../helpers/client.ts";
import { needs } from "../helpers/needs.ts";

const onDeno = await needs("on deno");

/** What the compiler says of a program beside the generated types; "" for nothing. */
async function check(document: OpenRpcDocument, program: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "codegen-"));
  try {
    await writeFile(join(folder, "api.d.ts"), await generateTypes(document));
    const file = join(folder, "program.ts");
    const imports =
      'import type { Api } from "./api.d.ts";\nimport { connect } from "@x/jsonrpc";\n';
    const connecting = 'const client = await connect<Api>("ws://127.0.0.1");\n';
    await writeFile(file, imports + connecting + program);
    const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
    const args = ["check", "--quiet", "--config", config, file];
    const env = { ...process.env, NO_COLOR: "1" };
    return await promisify(execFile)(process.execPath, args, { env })
      .then(() => "", ({ stderr }) => stderr);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const Tree = z.object({
  value: z.number(),
  get children() {
    return z.array(Tree);
  },
});

test(
  "types of this module's own document take right calls and refuse wrong ones",
  onDeno,
  async () => {
    const rpc = new JsonRpc()
      .client<{ confirm(params: { message: string }): boolean }>({
        confirm: { params: z.object({ message: z.string() }), result: z.boolean() },
      })
      .method(
        "users.find",
        { params: z.object({ text: z.string(), limit: z.number().optional() }), result: Tree },
        () => ({ value: 1, children: [] }),
      )
      .method("move", { params: z.tuple([z.number(), z.string()]) }, ([x]) => x)
      .method("ping", { result: z.literal("pong") }, () => "pong" as const)
      .topic("clock", { schema: z.object({ time: z.string() }) })
      .topic("room.*", { schema: z.number() });
    await using client = await pair(rpc);
    const document = await (client as unknown as JsonRpcClient).call("rpc.discover");
    const program = `
const tree = await client.call("users.find", { text: "a" });
tree.children[0]!.children[0]!.value satisfies number;
await client.remote.users.find(["a", 1]);
await client.call("move", [1, "a"]);
(await client.call("ping")) satisfies "pong";
await client.subscribe("clock", ({ time }) => time satisfies string);
await client.subscribe("room.7", (count) => count satisfies number);
client.method("confirm", ({ message }) => message.length > 1);
// @ts-expect-error -- a param is missing
await client.call("users.find", { limit: 1 });
// @ts-expect-error -- a param too many
await client.call("users.find", { text: "a", page: 1 });
// @ts-expect-error -- by position only
await client.call("move", { param1: 1, param2: "a" });
// @ts-expect-error -- of another type
await client.call("move", ["a", 1]);
// @ts-expect-error -- no such method
await client.call("pin");
// @ts-expect-error -- no params
await client.call("ping", { a: 1 });
// @ts-expect-error -- no such topic
await client.subscribe("clocks", () => {});
// @ts-expect-error -- of another type
client.method("confirm", () => "yes");
`;
    assertEquals(await check(document as OpenRpcDocument, program), "");
  },
);

/** As the documents of Ethereum's execution API are written, which other tools make. */
const FOREIGN = {
  openrpc: "1.2.4",
  info: { title: "Ethereum JSON-RPC Specification", version: "0.0.0" },
  methods: [
    {
      name: "eth_getBlockByNumber",
      summary: "Returns information about a block by number.",
      params: [
        { $ref: "#/components/contentDescriptors/Block" },
        { name: "Hydrated transactions", required: true, schema: { type: "boolean" } },
      ],
      paramStructure: "by-position",
      result: { name: "Block", schema: { $ref: "#/components/schemas/Block" } },
    },
    { name: "eth_blockNumber", params: [], result: { name: "n", schema: { type: "string" } } },
  ],
  components: {
    contentDescriptors: {
      Block: {
        name: "Block",
        required: true,
        schema: { title: "hex encoded unsigned integer", type: "string", pattern: "^0x" },
      },
    },
    schemas: {
      Block: {
        title: "Block object",
        type: "object",
        required: ["hash"],
        properties: { hash: { type: "string" }, parent: { $ref: "#/components/schemas/Block" } },
      },
    },
  },
};

test(
  "types of another project's document take right calls and refuse wrong ones",
  onDeno,
  async () => {
    const program = `
const block = await client.call("eth_getBlockByNumber", ["0x1", false]);
block.hash satisfies string;
block.parent?.parent?.hash satisfies string | undefined;
(await client.call("eth_blockNumber")) satisfies string;
// @ts-expect-error -- a param is missing
await client.call("eth_getBlockByNumber", ["0x1"]);
// @ts-expect-error -- of another type
await client.call("eth_getBlockByNumber", [1, false]);
// @ts-expect-error -- no such member
block.number;
`;
    assertEquals(await check(FOREIGN, program), "");
  },
);

/** As the document of MetaMask's API is written: tags and errors by reference, tokens of several kinds. */
const WALLET = {
  openrpc: "1.0.0-rc1",
  info: { title: "Wallet", version: "1" },
  methods: [
    {
      name: "wallet_watchAsset",
      tags: [{ $ref: "#/components/tags/Wallet" }],
      paramStructure: "by-name",
      params: [
        { name: "type", required: true, schema: { type: "string", enum: ["ERC20", "ERC721"] } },
        {
          name: "options",
          required: true,
          schema: {
            oneOf: [
              {
                title: "ERC-20",
                type: "object",
                required: ["address"],
                properties: {
                  address: { $ref: "#/components/schemas/address" },
                  decimals: { type: "number" },
                },
              },
              {
                title: "ERC-721",
                type: "object",
                required: ["tokenId"],
                properties: { tokenId: { type: "string" } },
              },
            ],
          },
        },
      ],
      result: { name: "added", schema: { type: "boolean" } },
      errors: [{ $ref: "#/components/errors/UserRejected" }],
    },
    {
      name: "eth_sendTransaction",
      params: [
        { name: "tx", required: true, schema: { $ref: "#/components/schemas/TransactionInfo" } },
      ],
      result: { name: "hash", schema: { $ref: "#/components/schemas/bytes32" } },
    },
    {
      name: "wallet_getSnaps",
      params: [],
      result: {
        name: "snaps",
        schema: {
          type: "object",
          additionalProperties: { type: "object", properties: { version: { type: "string" } } },
        },
      },
    },
    {
      name: "eth_coinbase",
      params: [],
      result: {
        name: "address",
        schema: { anyOf: [{ type: "null" }, { $ref: "#/components/schemas/address" }] },
      },
    },
    { name: "anything", params: [{ name: "what so ever", schema: true }] },
  ],
  components: {
    tags: { Wallet: { name: "Wallet" } },
    errors: { UserRejected: { code: 4001, message: "User rejected the request" } },
    schemas: {
      address: { title: "address", type: "string", pattern: "^0x" },
      // These two have the names that this module gives its own types.
      bytes32: { title: "Payloads", type: "string" },
      api: { type: "string" },
      TransactionInfo: {
        allOf: [{ $ref: "#/components/schemas/Base" }],
        type: "object",
        required: ["kind"],
        properties: { kind: { $ref: "#/components/schemas/api" } },
      },
      Base: {
        type: "object",
        required: ["from"],
        properties: { from: { $ref: "#/components/schemas/address" } },
      },
    },
  },
};

test("types of a document with alternatives, references and clashing names", onDeno, async () => {
  const program = `
await client.call("wallet_watchAsset", { type: "ERC20", options: { address: "0x1", decimals: 2 } });
(await client.call("eth_sendTransaction", [{ from: "0x1", kind: "pay" }])) satisfies string;
(await client.call("eth_sendTransaction", { tx: { from: "0x1", kind: "pay" } })) satisfies string;
(await client.call("wallet_getSnaps"))["a"]?.version satisfies string | undefined;
(await client.call("eth_coinbase")) satisfies string | null;
await client.call("anything", { "what so ever": [1] });
await client.call("anything");
// @ts-expect-error -- no such kind
await client.call("wallet_watchAsset", { type: "ERC1", options: { address: "0x1" } });
// @ts-expect-error -- by name only
await client.call("wallet_watchAsset", ["ERC20", { address: "0x1" }]);
// @ts-expect-error -- of neither kind
await client.call("wallet_watchAsset", { type: "ERC20", options: { decimals: 2 } });
// @ts-expect-error -- a member of the base is missing
await client.call("eth_sendTransaction", [{ kind: "pay" }]);
// @ts-expect-error -- it may be null
(await client.call("eth_coinbase")).length;
`;
  assertEquals(await check(WALLET as OpenRpcDocument, program), "");
});

test("generateTypes() keeps the descriptions of methods", async () => {
  const text = await generateTypes(FOREIGN);
  assertStringIncludes(text, "/** Returns information about a block by number. */");
});

test("generateTypes() throws if a reference leads nowhere", async () => {
  const methods = [{ $ref: "#/components/methods/none" }];
  await assertRejects(() => generateTypes({ methods }), TypeError, "leads nowhere");
});

test("generateTypes() follows no reference to a file", async () => {
  const schema = { $ref: "file:///etc/hostname" };
  const methods = [{ name: "read", params: [], result: { name: "text", schema } }];
  await assertRejects(() => generateTypes({ methods }));
});

test("generateTypes() writes nothing of a document into its file as it is", async () => {
  const odd = (schema: object) => ({ name: "odd", params: [], result: { name: "r", schema } });
  const documents = [
    { methods: [odd({ tsType: ["any; }\nINJECTED: {"] })] },
    { methods: [odd({ tsType: "INJECTED" })] },
    { methods: [odd({ title: "E", enum: ["a"], tsEnumNames: ["INJECTED"] })] },
    {
      // A value that a reference makes a schema.
      methods: [odd({ $ref: "#/components/schemas/A/const" })],
      components: { schemas: { A: { const: { tsType: ["INJECTED"] } } } },
    },
  ];
  for (const document of documents) {
    const text = await generateTypes(document as OpenRpcDocument);
    assert(!text.includes("INJECTED"), text);
  }
  const name = 'a.*\n`${x}`"; INJECTED */';
  const text = await generateTypes({ methods: [{ name, summary: "*/ x \u2028*/", params: [] }] });
  assertStringIncludes(text, `    /** * / x * / */\n    ${JSON.stringify(name)}(): `);
});

test("generateTypes() writes long tuples as arrays", async () => {
  const schemas = [
    { type: "array", items: [{}], minItems: 1e9, maxItems: 1e9 },
    { type: "array", items: { type: "string" }, minItems: 1e9 },
    { type: "array", items: Array.from({ length: 2000 }, () => ({ type: "string" })) },
  ];
  for (const schema of schemas) {
    const methods = [{ name: "a", params: [], result: { name: "r", schema } }];
    const text = await generateTypes({ methods });
    assert(text.length < 1000, `${text.length} characters`);
  }
});

test("generateTypes() refuses what is no OpenRPC document", async () => {
  for (const document of [null, {}, { methods: {} }, []]) {
    const generating = generateTypes(document as unknown as OpenRpcDocument);
    await assertRejects(() => generating, TypeError, "Expected an OpenRPC document");
  }
});
