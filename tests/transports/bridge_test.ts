/**
 * Two transports joined to one another: `bridge()`, and examples/stdio_bridge.ts.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import type { Transport } from "@x/jsonrpc";
import { bridge } from "@x/jsonrpc/bridge";
import { byteStream } from "@x/jsonrpc/byte_stream";
import { childProcess } from "@x/jsonrpc/stdio";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime } from "../helpers/runtimes.ts";
import { serveHere } from "../helpers/server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

function serverOf() {
  return new JsonRpc({ logger: silentLog() })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("ask", async ([question]: [string], request) => await request.confirm(question))
    .method("leave", (_params: unknown, { connection }) => connection.close(4000, "Enough"));
}

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `${name}: examples/stdio_bridge.ts joins a program's client to a server, until either ends`,
    await needs(name),
    async () => {
      const rpc = serverOf();
      await using server = await serveHere(rpc);
      const [program, ...flags] = (await runtime(name)).command;
      const args = [...flags, "examples/stdio_bridge.ts", server.ws];
      for (const framing of ["newline", "content-length"] as const) {
        const child = spawn(program, args, { cwd: root, stdio: ["pipe", "pipe", "pipe"] });
        const options = { framing, logger: silentLog() };
        const client = await connect<typeof rpc>(childProcess(child, options), {
          logger: silentLog(),
        });
        client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
        assertEquals(await client.call("add", [1, 2]), 3);
        assertEquals(await client.call("ask", ["Sure?"]), true);
        if (framing === "newline") {
          await client.close();
          await until(() => child.exitCode === 0);
        } else {
          let said = "";
          child.stderr.on("data", (chunk: unknown) => said += chunk);
          await assertRejects(() => client.call("leave"), RpcConnectionError);
          await until(() => child.exitCode === 1 && said.includes("(4000 Enough)"));
          await client.close();
        }
        await until(() => rpc.connections.size === 0);
      }
    },
  );
}

test("bridge() stops reading from a stream while the other side takes nothing, and loses nothing", async () => {
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>>();
  const near = byteStream({ readable, writable: new WritableStream() }, { logger: silentLog() });
  const sent: string[] = [];
  let isSlow = true;
  const far: Transport = {
    open({ opened }) {
      let isOpen = true;
      const { closed } = opened({
        get bufferedAmount() {
          return isSlow ? sent.join("").length : 0;
        },
        send: (message) => void sent.push(String(message)),
        close(code, reason) {
          if (isOpen) queueMicrotask(() => closed(code, reason));
          isOpen = false;
        },
      });
    },
  };
  const joined = bridge(near, far);
  const writer = writable.getWriter();
  const lines = Array.from({ length: 80 }, (_, id) => JSON.stringify({ id, a: "x".repeat(1e5) }));
  let written = 0;
  const writing = (async () => {
    for (const line of lines) {
      await writer.write(new TextEncoder().encode(`${line}\n`));
      written++;
    }
    await writer.close();
  })();
  await until(() => sent.length > 10);
  for (let turn = 0; turn < 20; turn++) await quietMoment();
  assert(sent.length < 20 && written < 20, `${sent.length} were passed, ${written} written`);
  isSlow = false;
  await writing;
  assertEquals((await joined).side, "near");
  assertEquals(sent, lines);
});

test("bridge() ends while it is told to wait", async () => {
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>>();
  const near = byteStream({ readable, writable: new WritableStream() }, { logger: silentLog() });
  let leave = (): void => {};
  let passed = 0;
  const far: Transport = {
    open({ opened }) {
      const receiver = opened({
        bufferedAmount: 2 ** 21,
        send: () => void passed++,
        close() {},
      });
      leave = () => receiver.closed(1001, "Going away");
    },
  };
  const joined = bridge(near, far);
  const writer = writable.getWriter();
  await writer.write(new TextEncoder().encode('{"a":1}\n{"a":2}\n'));
  await until(() => passed === 1);
  leave();
  assertEquals(await joined, { side: "far", code: 1001, reason: "Going away" });
});

/** A program whose input is a text, and what it is sent. */
function pipedInput(...lines: string[]) {
  const said: string[] = [];
  const decoder = new TextDecoderStream();
  void decoder.readable.pipeTo(new WritableStream({ write: (text) => void said.push(text) }));
  const near = byteStream({
    readable: new Blob(lines.map((line) => `${line}\n`)).stream(),
    writable: decoder.writable,
  }, { logger: silentLog() });
  return { near, text: () => said.join("") };
}

test("bridge() gives a side that has ended its input the answers to its calls", async () => {
  const rpc = serverOf()
    .method("later", async ([text]: [string]) => {
      for (let turn = 0; turn < 3; turn++) await quietMoment();
      return text;
    });
  const noted: unknown[] = [];
  rpc.method("note", (params: unknown) => void noted.push(params));
  await using server = await serveHere(rpc);
  const calls = pipedInput(
    '{"jsonrpc":"2.0","method":"later","params":["a"],"id":"x"}',
    "no JSON",
    '[{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1},{"jsonrpc":"2.0","method":"later","params":["b"],"id":null}]',
    '{"jsonrpc":"2.0","method":"note","params":[1]}',
  );
  const end = await bridge(calls.near, new WebSocket(server.ws));
  assertEquals([end.side, end.code], ["near", 1000]);
  const answers = calls.text().trim().split("\n").map((line) => JSON.parse(line)).flat();
  assertEquals(answers.map(({ result }) => result).sort(), [3, "a", "b"]);
  assertEquals(noted, [[1]]);
  // What waits for no answer is passed on all the same.
  const note = pipedInput('{"jsonrpc":"2.0","method":"note","params":[2]}');
  assertEquals((await bridge(note.near, new WebSocket(server.ws))).code, 1000);
  await until(() => noted.length === 2);
});

test("bridge() waits for answers after the end of an input only as long as it is told", async () => {
  await using server = await serveHere(serverOf().method("never", () => new Promise(() => {})));
  const { near } = pipedInput('{"jsonrpc":"2.0","method":"never","id":1}');
  const end = await bridge(near, new WebSocket(server.ws), { lastAnswersMs: 50 });
  assertEquals(end, { side: "near", code: 4408, reason: "1 calls have no answer" });
  const unopened: Transport = { open: () => {} };
  const { near: another } = pipedInput('{"jsonrpc":"2.0","method":"never"}');
  const early = await bridge(another, unopened, { lastAnswersMs: 1 });
  assertEquals(early, { side: "near", code: 4408, reason: "the other side is not open" });
});

test("bridge() ends when the other side does while calls wait for answers", async () => {
  await using server = await serveHere(serverOf().method("wait", () => new Promise(() => {})));
  const { near } = pipedInput(
    '{"jsonrpc":"2.0","method":"wait","id":1}',
    '{"jsonrpc":"2.0","method":"leave"}',
  );
  const end = await bridge(near, new WebSocket(server.ws));
  assertEquals([end.side, end.code], ["far", 4000]);
});
