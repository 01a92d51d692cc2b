import { assertEquals, assertStringIncludes } from "@std/assert";
import { execFile } from "node:child_process";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { connect } from "@x/jsonrpc";
import { runtime } from "./_kit/runtimes.ts";
import type { RuntimeName } from "./_kit/runtimes.ts";
import { spawnServer } from "./_kit/serve.ts";

test("examples/server.ts serves examples/client.ts, which calls, is asked and hears the clock", async () => {
  if (await runtime("deno") === undefined) return;
  const port = await freePort();
  const server = await spawnServer("deno", "examples/server.ts", [], { PORT: String(port) });
  try {
    const said = await run("deno", "examples/client.ts", `ws://127.0.0.1:${port}`);
    assertStringIncludes(said, "ping: pong\n1 + 2: 3\n");
    assertStringIncludes(said, "1 + two: -32602 Invalid params - Expected two numbers");
    assertStringIncludes(
      said,
      "The server asks: Really format the disk?\nthe disk was kept as it is",
    );
    assertEquals(said.match(/^clock: \d{4}-/gm)?.length, 3);
  } finally {
    await server.stop();
  }
});

for (
  const [name, file] of [
    ["deno", "examples/ping_deno.ts"],
    ["bun", "examples/ping_bun.ts"],
    ["node", "examples/ping_node.ts"],
    ["deno", "examples/ping_node.ts"],
    ["bun", "examples/ping_node.ts"],
  ] as const
) {
  test(`${file} answers over WebSocket and POST on ${name}`, async () => {
    if (await runtime(name) === undefined) return;
    const server = await spawnServer(name, file, [], { PORT: "0" });
    try {
      await assertPong(server.url);
    } finally {
      await server.stop();
    }
  });
}

async function assertPong(url: string): Promise<void> {
  for (const target of [url, url.replace("http:", "ws:")]) {
    const client = await connect(target);
    assertEquals(await client.call("ping"), "pong");
    await client.close();
  }
}

async function run(name: RuntimeName, ...args: string[]): Promise<string> {
  const [program, ...flags] = (await runtime(name))?.command ?? ["none"];
  const root = new URL("..", import.meta.url);
  const { stdout } = await promisify(execFile)(program, [...flags, ...args], { cwd: root });
  return stdout;
}

/** For the one example that must know its port before it listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
