/**
 * The command stream: results that are streams, and subscriptions by id, whatever their names are.
 */
import { assert, assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, PROGRAM, run, start } from "./command_line.ts";

/** A server with streams of each kind; `made` are the items that `numbers` has made, `ended` its ends. */
function streamingServer() {
  const counts = { made: 0, ended: 0 };
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("numbers", async function* ([to, size]: [number, number?]) {
      try {
        for (let n = 1; n <= to; n++) {
          counts.made++;
          yield size === undefined ? n : "x".repeat(size);
        }
      } finally {
        counts.ended++;
      }
    })
    .method("resubscribe", async function* () {
      yield* ["a", "b"];
    })
    .method("broken", async function* () {
      yield 1;
      await Promise.resolve();
      throw new RpcError(409, "Sold out");
    })
    .method("list", () => [1, { two: 2 }])
    .method("wait", async function* (_params: unknown, request) {
      yield "begun";
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    })
    .stream("ticks", { unsubscribe: "ticks.end", notification: "tick", notifyEnd: true }, () => [
      7,
      8,
    ])
    .stream(
      "hang",
      { unsubscribe: "hang.end", notification: "hung" },
      async function* (_, request) {
        yield "begun";
        await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      },
    );
  return { rpc, counts };
}

test("jsonrpc stream prints the items of a method that returns a generator", async () => {
  const { rpc, counts } = streamingServer();
  await using server = await serveHere(rpc);
  const host = hostOf(server);
  const [all, few, subscribe, list, post, broken, missing] = await Promise.all([
    run("stream", host, "numbers", "3"),
    run("stream", host, "numbers", "1000000", "--count", "2"),
    run("stream", host, "resubscribe"),
    run("stream", host, "list"),
    run("stream", server.url, "numbers", "2"),
    run("stream", host, "broken"),
    run("stream", host, "nothing", "--json"),
  ]);
  assertEquals(all, { code: 0, out: "1\n2\n3\n", err: "" });
  assertEquals(few, { code: 0, out: "1\n2\n", err: "" });
  // Its name is like those of Ethereum's nodes, but nothing could end it.
  assertEquals(subscribe, { code: 0, out: '"a"\n"b"\n', err: "" });
  assertEquals(list, { code: 0, out: '1\n{"two":2}\n', err: "" });
  assertEquals(post, { code: 0, out: "1\n2\n", err: "" });
  assertEquals(broken, { code: 1, out: "1\n", err: "Error 409: Sold out\n" });
  assertEquals([missing?.code, missing?.out], [1, ""]);
  assertEquals(JSON.parse(missing?.err ?? "").code, -32601);
  await until(() => counts.ended === 3);
  assert(counts.made < 100, `${counts.made} items for ${few?.out}`);
});

test("jsonrpc stream learns from the server how a subscription by id ends", async () => {
  const { rpc } = streamingServer();
  await using server = await serveHere(rpc);
  const [known, given] = await Promise.all([
    run("stream", hostOf(server), "ticks"),
    run("stream", hostOf(server), "ticks", "--unsubscribe", "ticks.end"),
  ]);
  assertEquals(known, { code: 0, out: "7\n8\n", err: "" });
  assertEquals(given, { code: 0, out: "7\n8\n", err: "" });
});

test("jsonrpc stream ends with Ctrl+C, and so does the stream on the server", async () => {
  const { rpc } = streamingServer();
  await using server = await serveHere(rpc);
  for (const method of ["wait", "hang"]) {
    const running = await start(["stream", hostOf(server), method]);
    await until(() => running.out().includes("begun"));
    running.interrupt();
    assertEquals(await running.ended, { code: 0, out: '"begun"\n', err: "" });
    await until(() => rpc.connections.size === 0);
  }
});

test("jsonrpc stream fails with exit code 3 if the connection is lost", async () => {
  const { rpc } = streamingServer();
  await using server = await serveHere(rpc);
  const outcomes = ["wait", "hang"].map(async (method) => {
    const running = await start(["stream", hostOf(server), method]);
    await until(() => running.out().includes("begun"));
    return running;
  });
  const running = await Promise.all(outcomes);
  for (const connection of rpc.connections) connection.close(1012, "Restart");
  for (const each of running) {
    const { code, out, err } = await each.ended;
    assertEquals([code, out], [3, '"begun"\n'], err);
  }
});

test("jsonrpc stream goes no faster than what reads its output", async () => {
  const { rpc, counts } = streamingServer();
  await using server = await serveHere(rpc);
  const { child, ended } = await startSlow(["stream", hostOf(server), "numbers", "2000", "10000"]);
  let [bytes, ahead] = [0, 0];
  for await (const chunk of slowly(child.stdout)) {
    bytes += chunk.length;
    ahead = Math.max(ahead, counts.made - bytes / 10_003);
  }
  assertEquals([await ended, bytes], [0, 2000 * 10_003]);
  // The credit is 32, and there is a buffer in each pipe.
  assert(ahead < 200, `${ahead} items were ahead`);
});

test("jsonrpc writes all of its output, however slow what reads it is", async () => {
  const rpc = new JsonRpc().method("big", () => "x".repeat(900_000));
  await using server = await serveHere(rpc);
  const call = '{"jsonrpc":"2.0","method":"big","id":1}\n';
  const commands: [args: string[], input: string, bytes: number][] = [
    [["call", hostOf(server), "big"], "", 900_003],
    [["bridge", hostOf(server)], call, 900_037],
  ];
  for (const [args, input, expected] of commands) {
    const { child, ended } = await startSlow(args);
    child.stdin.end(input);
    let bytes = 0;
    for await (const chunk of slowly(child.stdout)) bytes += chunk.length;
    assertEquals([await ended, bytes], [0, expected], args[0]);
  }
});

/** Starts a command whose output nobody reads yet. */
async function startSlow(args: readonly string[]) {
  const { command: [program, ...flags] } = await runtime(runtimeHere);
  const child = spawn(program, [...flags, PROGRAM, ...args]);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, ended };
}

async function* slowly(output: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of output) {
    // The program could be far ahead by now.
    await new Promise((resolve) => setTimeout(resolve, 5));
    yield chunk;
  }
}
