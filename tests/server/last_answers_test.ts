/**
 * Peers that end their input and still read: they get the answers to the calls that are under way.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { byteStream } from "@x/jsonrpc/byte_stream";
import { mcp } from "@x/jsonrpc/dialect";
import { trace } from "@x/jsonrpc/trace";
import { silentLog } from "../helpers/log.ts";

/** Pipes texts into a server, as `echo '…' | program` does, and gives all that it says. */
async function pipe(rpc: JsonRpc, ...lines: readonly string[]): Promise<string> {
  const input = new TransformStream<Uint8Array, Uint8Array>();
  const output = new TransformStream<Uint8Array, Uint8Array>();
  rpc.attach(byteStream({ readable: input.readable, writable: output.writable }));
  const said = new Response(output.readable).text();
  const writer = input.writable.getWriter();
  await writer.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
  await writer.close();
  return await said;
}

function server(options: JsonRpcOptions = {}): JsonRpc {
  return new JsonRpc({ ...options, logger: silentLog() })
    .method("later", async () => {
      await new Promise((done) => setTimeout(done, 20));
      return "later";
    })
    .method(
      "ask",
      async (_params: unknown, { connection }) =>
        await connection.call("confirm").catch(({ message }: Error) => message),
    );
}

const CALL = '{"jsonrpc":"2.0","method":"later","id":1}';
const ANSWER = '{"jsonrpc":"2.0","result":"later","id":1}';

for (
  const [name, options] of Object.entries({
    plain: {},
    "with a trace": { trace: trace(() => {}) },
    "with a dialect": { dialect: mcp },
  })
) {
  test(`a peer that has ended its input gets its answers, ${name}`, async () => {
    const rpc = server(options);
    assertEquals(await pipe(rpc, CALL), `${ANSWER}\n`);
    assertEquals(rpc.connections.size, 0);
  });
}

test("a call to a peer that has ended its input fails at once", async () => {
  const said = await pipe(server(), '{"jsonrpc":"2.0","method":"ask","id":1}');
  assertStringIncludes(said, "the client has ended what it sends");
});
