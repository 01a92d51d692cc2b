import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { connect, ErrorCode, guard, JsonRpc, type } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";

test("rpc.discover describes what the caller may use, as OpenRPC", async () => {
  const rpc = new JsonRpc({ info: { title: "Shop", version: "1.2.0" } })
    .method("add", {
      names: ["a", "b"],
      summary: "Adds",
      errors: { tooLarge: { code: 1 } },
    }, ({ a, b }: { a: number; b: number }) => a + b)
    .method("secret", { use: [guard(() => false)] }, () => 1)
    .method("old", { deprecated: true }, () => 1);
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  const { info, methods } = await client.call("rpc.discover") as {
    info: unknown;
    methods: { name: string }[];
  };
  assertEquals(info, { title: "Shop", version: "1.2.0" });
  assertEquals(methods.filter(({ name }) => ["add", "secret", "old"].includes(name)), [
    {
      name: "add",
      summary: "Adds",
      paramStructure: "either",
      params: [{ name: "a", schema: {} }, { name: "b", schema: {} }],
      result: { name: "result", schema: {} },
      errors: [{ code: 1, message: "tooLarge" }],
    },
    {
      name: "old",
      deprecated: true,
      paramStructure: "either",
      params: [],
      result: { name: "result", schema: {} },
    },
  ]);
});

test("rpc.discover asks a schema for its JSON Schema only once for many calls", async () => {
  let asked = 0;
  const input = () => ({ properties: { count: { const: ++asked } } });
  const standard = { ...type<object>()["~standard"], jsonSchema: { input } };
  const schema = { "~standard": standard };
  const rpc = new JsonRpc().method("add", { params: schema, result: schema }, () => ({}));
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  const first = await client.call("rpc.discover");
  const before = asked;
  for (let n = 0; n < 100; n++) assertEquals(await client.call("rpc.discover"), first);
  assertEquals(asked, before);
});

test("timeoutMs of a method answers -32002, aborts its signal, and drops its late result", async () => {
  let reason: unknown;
  const rpc = new JsonRpc().method("slow", { timeoutMs: 10 }, async (_: unknown, { signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    reason = signal.reason;
    return "late";
  });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect(near);
  const error = await assertRejects(() => client.call("slow")) as { code?: number };
  assertEquals(error.code, ErrorCode.requestTimeout);
  assertEquals((reason as { code?: number }).code, ErrorCode.requestTimeout);
});

test("a GET calls methods that allow it, with JSON params and an id", async () => {
  const rpc = new JsonRpc()
    .method("add", { get: true }, ([a, b]: [number, number]) => a + b)
    .method("post_only", () => 1);
  assertEquals(await get(rpc, "method=add&params=[1,2]&id=7"), answer({ result: 3 }, 7));
  assertEquals(await get(rpc, "method=add&params=[1,2]&id=abc"), answer({ result: 3 }, "abc"));
  assertEquals(await get(rpc, "method=add&params=[1,2]"), answer({ result: 3 }, null));
  const missing = answer({ error: { code: -32601, message: "Method not found" } }, 1);
  assertEquals(await get(rpc, "method=post_only&id=1"), missing);
  const broken = answer({ error: { code: -32700, message: "Parse error" } }, 1);
  assertEquals(await get(rpc, `method=add&params=${encodeURIComponent("[1],2")}&id=1`), broken);
  const scalar = await get(rpc, "method=add&params=5&id=1") as { error: { code: number } };
  assertEquals(scalar.error.code, -32600);
});

async function get(rpc: JsonRpc, search: string): Promise<unknown> {
  const response = await rpc.fetch(new Request(`http://localhost/?${search}`));
  assertEquals(response.status, 200);
  return await response.json();
}

function answer(what: object, id: unknown): object {
  return { jsonrpc: "2.0", ...what, id };
}
