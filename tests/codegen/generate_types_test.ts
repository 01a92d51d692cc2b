import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
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
