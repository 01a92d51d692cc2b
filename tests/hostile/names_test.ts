/**
 * Names and texts that the other side makes up, where somebody else reads them: in telemetry, on a terminal,
 * in a trace, in generated files.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import { generateTypes } from "@x/jsonrpc/codegen";
import { otel } from "@x/jsonrpc/otel";
import { rateLimit } from "@x/jsonrpc/rate_limit";
import { mockServer, testClient } from "@x/jsonrpc/testing";
import { trace } from "@x/jsonrpc/trace";
import { run } from "../cli/command_line.ts";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import { Recorder } from "../otel/recorder.ts";

test("names that strangers make up become no names of spans, nor attributes of metrics", async () => {
  const recorder = new Recorder();
  const rpc = new JsonRpc({ logger: silentLog() })
    .use(otel(recorder.options))
    // Refuses before the method is looked for, so that the code does not tell that there is none.
    .use(rateLimit({ perSecond: 1, burst: 2 }))
    .method("ping", () => "pong");
  const peer = bareClient(rpc);
  peer.send(call("ping", "i".repeat(100_000)));
  for (let id = 0; id < 20; id++) peer.send(call(`made_up_${id}`.padEnd(100_000, "x"), id));
  await peer.some(21);
  // One more name, which a middleware answers.
  const open = new JsonRpc({ logger: silentLog() }).use(otel(recorder.options)).use(() => "any");
  const other = bareClient(open);
  other.send(call("made_up", 1));
  assertEquals((await other.next()).result, "any");
  assertEquals(new Set(recorder.spans().map(({ name }) => name)), new Set(["ping", "jsonrpc"]));
  for (const { attributes } of recorder.spans()) {
    for (const value of Object.values(attributes)) assert(String(value).length <= 256);
  }
  const points = (await recorder.metrics()).get("rpc.server.call.duration") ?? [];
  const methods = points.map(({ attributes }) => Object(attributes)["rpc.method"]);
  assertEquals(new Set(methods), new Set(["ping", "_OTHER"]));
  await Promise.all([rpc.close(), open.close(), recorder.end()]);
});

// deno-lint-ignore no-control-regex -- those are what it is about
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;
const EVIL = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202eevil";

test("what a hostile server says reaches no terminal as it is", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .use((request, next) => {
      const { method } = request;
      if (method === "get_topics" || method === "get_methods") return [EVIL];
      if (method === "rpc.discover") {
        return { methods: [{ name: EVIL, params: [{ name: EVIL }], summary: EVIL }] };
      }
      return next();
    })
    .method("result", () => EVIL)
    .method("fail", (_params: unknown, request) => {
      request.connection.close(4000, "\u009b2J");
    });
  await using server = await serveHere(rpc);
  const commands = [["methods", server.ws], ["topics", server.ws], ["call", server.ws, "result"]];
  const outcomes = await Promise.all(
    [...commands, ["call", server.ws, "fail"]].map((words) => run(...words)),
  );
  for (const [index, { out, err }] of outcomes.entries()) {
    assert(!CONTROLS.test(out + err), JSON.stringify(out + err));
    assert(index > 2 || out.includes("evil"));
  }
});

test("a trace shows control characters escaped", () => {
  const lines: string[] = [];
  const log = { debug: (line: string) => void lines.push(line) };
  trace(log).frame("in", 1, EVIL);
  assert(!CONTROLS.test(lines.join()));
});

const END = "*/ } declare global { interface Window { owned: true } } /*";

test("no name, text or extension of a document gets out of its place in generated types", async () => {
  const nasty = [END, '"]: 1 }; export const owned = 1; //', "`${owned}`", "__proto__", "a\u2028b"];
  const text = await generateTypes({
    methods: nasty.map((name) => ({
      name,
      summary: name,
      params: [{
        name,
        schema: {
          title: name,
          description: name,
          enum: [name],
          tsType: "1; export const owned = 1",
        },
      }],
      result: {
        name,
        schema: {
          type: "object",
          properties: { [name]: { const: name, tsType: "any }; export const owned = 1" } },
          tsEnumNames: [name],
        },
      },
    })),
    "x-topics": [{ name: `*.${END}.\`\${owned}`, schema: { description: END } }],
  });
  // Comments and texts left out, nothing of it is left.
  const code = text.replaceAll(/"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\/\*[^]*?\*\//g, '""');
  assert(!/owned|global/.test(code), code);
});

test("a document whose schemas ask for much is answered with an error", async () => {
  const schemas: Record<string, object> = {
    self: { allOf: [{ $ref: "#/components/schemas/self" }] },
    wide: {
      type: "object",
      properties: Object.fromEntries(
        Array.from({ length: 40 }, (_, n) => [`p${n}`, { $ref: "#/components/schemas/wide" }]),
      ),
      required: Array.from({ length: 40 }, (_, n) => `p${n}`),
    },
    long: { type: "string", minLength: 2 ** 40 },
    many: { type: "array", minItems: 1e9, items: {} },
  };
  const names = Object.keys(schemas);
  const rpc = await mockServer({
    methods: names.map((name) => ({
      name,
      params: [],
      result: { name, schema: { $ref: `#/components/schemas/${name}` } },
    })),
    components: { schemas },
  }, { logger: silentLog() });
  await using client = await testClient(rpc);
  for (const name of names) {
    await assertRejects(() => client.call(name), RpcError);
  }
  await rpc.close();
});
