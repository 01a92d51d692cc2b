import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import WebSocket from "ws";
import { connect, RpcInvalidParamsError, RpcMethodNotFoundError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { RawSocket } from "./helpers/raw_client.ts";
import { EventReader } from "./helpers/event_reader.ts";
import { until } from "./helpers/deferred.ts";
import { call, result } from "./helpers/messages.ts";
import { freePort } from "./helpers/ports.ts";
import { programPath } from "./helpers/programs.ts";
import { runtime } from "./helpers/runtimes.ts";
import type { RuntimeName } from "./helpers/runtimes.ts";
import { spawnServer } from "./helpers/spawn_server.ts";
import type { SpawnedServer } from "./helpers/spawn_server.ts";
import { needs, skipUnless } from "./helpers/needs.ts";

const deno = await needs("deno");

const root = fileURLToPath(new URL("..", import.meta.url));

test(
  "examples/server.ts serves examples/client.ts, which calls, is called and receives the clock",
  deno,
  async () => {
    await withExample("deno", "server.ts", async ({ url }) => {
      const said = await run("deno", "examples/client.ts", url.replace("http:", "ws:"));
      assertStringIncludes(said, "ping: pong\n1 + 2: 3\n");
      assertStringIncludes(said, "1 + two: -32602 Invalid params - Expected two numbers");
      assertStringIncludes(
        said,
        "The server asks: Really format the disk?\nthe disk was kept as it is",
      );
      assertEquals(said.match(/^clock: \d{4}-/gm)?.length, 3);
    });
  },
);

const withoutDeno = (process.env.PATH ?? "").split(delimiter)
  .filter((folder) => !existsSync(join(folder, "deno")));
const npxAlone = skipUnless(
  withoutDeno.some((folder) => existsSync(join(folder, "npx"))),
  "npx is in the folder of Deno only",
);

for (const name of ["bun", "node"] as const) {
  const needed = npxAlone.skip ? npxAlone : await needs("deno", name);
  test(
    `examples/server.ts bundles its page on ${name} if no Deno is on the PATH`,
    needed,
    async () => {
      const PATH = withoutDeno.join(delimiter);
      await withExample(
        name,
        "server.ts",
        async ({ url }) => {
          const client = await (await fetch(`${url}/client.js`)).text();
          assertStringIncludes(client, "JsonRpcClient");
        },
        [],
        { PATH },
      );
    },
  );
}

for (
  const [name, file] of [
    ["deno", "ping_deno.ts"],
    ["bun", "ping_bun.ts"],
    ["node", "ping_node.ts"],
    ["deno", "ping_node.ts"],
    ["bun", "ping_node.ts"],
  ] as const
) {
  test(
    `examples/${file} answers over WebSocket and POST on ${name}`,
    await needs("deno", name),
    async () => {
      await withExample(name, file, ({ url }) => assertPong(url));
    },
  );
}

test(
  "examples/ping_default_export.ts is served by bun without an option",
  await needs("bun"),
  async () => {
    const { command: [bunProgram] } = await runtime("bun");
    const port = await freePort();
    const env = { PORT: String(port) };
    await withProgram([bunProgram, "examples/ping_default_export.ts"], port, env);
  },
);

test("examples/ping_default_export.ts is served by deno serve", deno, async () => {
  const { command: [denoProgram] } = await runtime("deno");
  const port = await freePort();
  const where = ["--port", String(port), "--host", "127.0.0.1"];
  const args = ["serve", "-A", ...where, "examples/ping_default_export.ts"];
  await withProgram([denoProgram, ...args], port);
});

test("examples/clock.ts sends its clients the time, a new client at once", deno, async () => {
  await withExample("deno", "clock.ts", async (server) => {
    await until(() => /^kitchen \d{4}-.*$\n^cellar \d{4}-/m.test(server.output()));
    const client = await connect(server.url.replace("http:", "ws:"));
    const received: unknown[] = [];
    await client.subscribe("clock", (time) => received.push(time));
    await until(() => received.length === 2);
    const [last] = received as string[];
    assertStringIncludes(server.output(), `kitchen ${last}`);
    await client.close();
  });
});

test("examples/vite/server.ts serves what its pages use", deno, async () => {
  await withExample("deno", "vite/server.ts", async ({ url }) => {
    const client = await connect(`${url.replace("http:", "ws:")}/rpc`);
    assertEquals(await client.call("add", [1, 2]), 3);
    const time = Promise.withResolvers<unknown>();
    await client.subscribe("clock", time.resolve);
    assertEquals(typeof await time.promise, "string");
    await client.close();
  });
});

test("examples/chat.ts separates rooms, and lists the people in each", deno, async () => {
  await withExample("deno", "chat.ts", async (server) => {
    const ada = await joinChat(server);
    const bob = await joinChat(server);
    await ada.enter("lobby", "Ada");
    await bob.enter("lobby", "Bob");
    await until(() => ada.people.at(-1) === "Ada Bob" && bob.people.at(-1) === "Ada Bob");
    await ada.client.call("say", { text: "Hello" });
    await until(() => bob.said.length === 1);
    assertEquals([ada.said, bob.said], [["Ada: Hello"], ["Ada: Hello"]]);

    await bob.enter("kitchen", "Bob");
    await until(() => ada.people.at(-1) === "Ada" && bob.people.at(-1) === "Bob");
    await ada.client.call("say", { text: "Still here?" });
    await ada.client.call("leave", { room: "lobby" });
    const say = () => ada.client.call("say", { text: "Hello?" });
    const failure = await assertRejects(say, RpcInvalidParamsError);
    assertEquals(failure.data, "Enter a room first");
    await ada.client.close();
    await bob.client.close();
  });
});

test("examples/ask.ts is asked by its server before it deletes a file", deno, async () => {
  await withExample("deno", "ask.ts", async (server) => {
    await until(() => server.output().includes("Kept:"));
    assertStringIncludes(
      server.output(),
      'The server asks for letter.txt\n1 of 2\nThe server asks for old.tmp\n2 of 2\nKept: [ "letter.txt" ]',
    );
  });
});

test(
  "examples/counter.ts offers the public methods of an instance",
  deno,
  async () => {
    await withExample("deno", "counter.ts", async (server) => {
      await until(() => server.output().includes("after reset: 1"));
      assertStringIncludes(server.output(), "add 2: 2\nadd 3: 5\n");
      const client = await connect(server.url);
      const methods = (await client.getMethods()).filter((name) => name.startsWith("counter."));
      assertEquals(methods.toSorted(), ["counter.add", "counter.reset"]);
      await client.close();
    });
  },
);

test("examples/hono_mount.ts answers at its route", deno, async () => {
  await withExample("deno", "hono_mount.ts", ({ url }) => assertPong(`${url}/rpc`));
});

test(
  "examples/tls_node.ts answers over https and wss",
  await needs("deno", "node", "openssl"),
  async () => {
    const files = await certificate();
    try {
      await withExample("node", "tls_node.ts", async ({ url }) => {
        assertMatch(url, /^https:/);
        const ca = await readFile(files.cert, "utf8");
        assertEquals((await securePing(url, ca)).result, "pong");

        class TrustingSocket extends WebSocket {
          constructor(target: string, protocols?: string[]) {
            // Bun's has `tls`, the library `ca`.
            super(target, protocols, { ca, tls: { ca } } as object);
          }
        }
        const client = await connect(url.replace("https:", "wss:"), { WebSocket: TrustingSocket });
        assertEquals(await client.call("ping"), "pong");
        await client.close();
      }, [files.key, files.cert]);
    } finally {
      await rm(files.folder, { recursive: true });
    }
  },
);

test(
  "examples/passwd.ts lets an operator restart, and takes that right away at once",
  deno,
  async () => {
    await withExample("deno", "passwd.ts", async (server) => {
      await until(() => server.output().includes("new: true"));
      assertStringIncludes(server.output(), "a wrong password: false\nann: true\nhello, ann\n");
      assertStringIncludes(server.output(), "ann restarts: Method not found\n");
      assertStringIncludes(
        server.output(),
        "an operator restarts: restarted\nann is still subscribed to: []\n",
      );
    });
  },
);

test("examples/guarded_group.ts shows its group only to clients with the key", deno, async () => {
  await withExample("deno", "guarded_group.ts", async (server) => {
    await until(() => server.output().includes("mechanic"));
    assertStringIncludes(server.output(), "stranger: 0 valve methods, open: Method not found\n");
    assertStringIncludes(server.output(), "mechanic: 2 valve methods, open: open\n");
  });
});

test("examples/zod.ts says why an order is invalid", deno, async () => {
  await withExample("deno", "zod.ts", async (server) => {
    await until(() => server.output().includes("count: "));
    assertStringIncludes(server.output(), "by name: 2 × tea\nitem: ");
  });
});

test("examples/jwt.ts recognizes its users over WebSocket and POST", deno, async () => {
  await withExample("deno", "jwt.ts", async (server) => {
    await until(() => server.output().includes("over POST: hello, ada"));
    assertStringIncludes(
      server.output(),
      "over WebSocket: hello, ada\nrestart: Method not found\nrestart: restarting\n",
    );
  });
});

test("examples/hono_session.ts recognizes users from login to logout", deno, async () => {
  await withExample("deno", "hono_session.ts", async ({ url }) => {
    const init = { method: "POST", headers: { "content-type": "application/json" } };
    const body = JSON.stringify({ name: "ada", password: "secret" });
    const login = await fetch(`${url}/login`, { ...init, body });
    const [cookie = ""] = login.headers.get("set-cookie")?.split(";") ?? [];
    const whoami = async () => {
      const client = await connect(`${url}/rpc`, { headers: { cookie } });
      const name = await client.call("whoami");
      await client.close();
      return name;
    };
    assertEquals(await whoami(), "ada");
    const logout = await fetch(`${url}/logout`, { method: "POST", headers: { cookie } });
    assertEquals([login.status, logout.status], [204, 204]);
    assertEquals(await whoami(), null);
  });
});

test("examples/publish.ts lets some users publish, and all receive", deno, async () => {
  await withExample("deno", "publish.ts", async ({ url }) => {
    const reader = await EventReader.open(url, "topics=alarms");
    await reader.block();
    const stranger = await connect(url);
    const publish = (client: JsonRpcClient, text: string) =>
      client.call<string>("publish", ["alarms", text]);
    await assertRejects(() => publish(stranger, "Fire"), RpcMethodNotFoundError);
    const known = await connect(url, { token: "secret" });
    const position = await publish(known, "Water in the cellar");
    const { event, data, id } = await reader.next();
    assertEquals([event, JSON.parse(data)], ["alarms", "Water in the cellar"]);
    assertEquals(new URLSearchParams(id).get("alarms"), position);
    await reader.leave();
    await Promise.all([stranger.close(), known.close()]);
  });
});

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `examples/graceful.ts answers the calls in flight when it gets SIGTERM, on ${name}`,
    await needs("deno", name),
    async () => {
      await withExample(name, "graceful.ts", async (server) => {
        const line = await RawSocket.open(server.url);
        line.send(call("count", 1, [5]));
        assertEquals((await line.next()).method, "$/progress");
        process.kill(server.pid, "SIGTERM");
        await until(() => server.output().includes("draining"));
        const messages = [];
        do messages.push(await line.next()); while (messages.at(-1)?.id === undefined);
        assertEquals(messages.at(-1), result(1, 5));
        const { code, reason } = await line.closed();
        assertEquals(code, 1012);
        assertMatch(reason, /^retry-after=[5-9]\d\d$|^retry-after=1000$/);
        assertEquals(await server.ended, "it ended with 0");
        assertStringIncludes(server.output(), "drained\n");
      });
    },
  );
}

for (
  const [file, engine] of [["cluster_redis.ts", "redis"], ["cluster_nats.ts", "nats"]] as const
) {
  test(
    `examples/${file} plays examples/cluster.ts: a server is killed, and nothing is lost`,
    await needs("deno", `${engine}-server`),
    async () => {
      const said = await run("deno", `examples/${file}`);
      assertStringIncludes(said, "-- Ada's server is killed; Bob goes on publishing --\n");
      assertStringIncludes(said, "-- Ada is back --\n");
      for (const name of ["Ada", "Bob"]) {
        assertStringIncludes(said, `${name} got 30 of 30: nothing lost\n`);
        const received = said.match(RegExp(`^${name} \\d+$`, "gm"));
        assertEquals(received, Array.from({ length: 30 }, (_, index) => `${name} ${index + 1}`));
      }
    },
  );
}

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `examples/stdio_client.ts starts stdio_server.ts on ${name}`,
    await needs(name),
    async () => {
      const said = await run(name, "examples/stdio_client.ts");
      assertStringIncludes(said, "1 + 2 = 3\nThe server asks: Is it really ann?\nHello ann\n");
    },
  );
}

test("every example says what it does and how to run it, and is run by a test", async () => {
  // It needs JSR, which not every machine that runs the tests can reach.
  const untested = ["std_log.ts"];
  const suites = [
    "examples_metrics_test.ts",
    "examples_test.ts",
    "page_test.ts",
    "auth/django_page_test.ts",
    "runtimes/mount_test.ts",
    "runtimes/workers_test.ts",
    "transports/bridge_test.ts",
    "transports/dialect_test.ts",
    "transports/mcp_sessions_test.ts",
    "transports/mcp_test.ts",
  ];
  const tests = await Promise.all(
    suites.map((file) => readFile(join(root, "tests", file), "utf8")),
  );
  for (const file of await readdir(join(root, "examples"), { recursive: true })) {
    // The other files of a folder belong to its program: those of the Django site are Django's. JSON has no comments.
    if (file.endsWith(".json") || !/^[^/\\]+\.\w+$|(?:server|worker)\.ts$/.test(file)) continue;
    const text = await readFile(join(root, "examples", file), "utf8");
    assertMatch(text, /^(?:\/\*\*\n \* [A-Z]|<!DOCTYPE html>\n<!--\n {2}[A-Z])/, file);
    const [comment = ""] = text.split(/\*\/|-->/);
    assertMatch(comment, /^(?: \*)? {5,}(?:deno|bun|node|openssl|rpc\.use)/m, file);
    if (file.endsWith(".html") || file === "page.ts" || untested.includes(file)) continue;
    // The mounts are tested in one loop, over the names of the frameworks.
    const framework = `"${file.replace("_mount.ts", "")}"`;
    const all = tests.join();
    assert(all.includes(file) || all.includes(framework), `no test runs ${file}`);
  }
});

/** Starts an example, and ends it. */
async function withExample(
  name: RuntimeName,
  file: string,
  use: (server: SpawnedServer) => Promise<void>,
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { command: [denoProgram] } = await runtime("deno");
  // Pages are bundled by Deno.
  const PATH = `${dirname(denoProgram)}:${process.env.PATH}`;
  const PORT = String(await freePort());
  const env = { PATH, PORT, NO_COLOR: "1", ...environment };
  const server = await spawnServer(name, `examples/${file}`, args, env);
  try {
    await use(server);
  } finally {
    await server.stop();
  }
}

/** Starts a program that does not announce its URL, calls it, and ends it. */
async function withProgram(
  [program = "", ...args]: string[],
  port: number,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const options = { cwd: root, env: { ...process.env, ...env }, stdio: "ignore" } as const;
  const child = spawn(program, args, options);
  let running = true;
  const ended = new Promise<void>((resolve) =>
    child.once("close", () => {
      running = false;
      resolve();
    })
  );
  try {
    const url = `http://127.0.0.1:${port}`;
    while (running && !await answers(url)) await new Promise((next) => setTimeout(next, 50));
    await assertPong(url);
  } finally {
    if (running) process.kill(child.pid as number, "SIGTERM");
    await ended;
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).body?.cancel();
    return true;
  } catch {
    return false;
  }
}

async function assertPong(url: string): Promise<void> {
  for (const target of [url, url.replace("http:", "ws:")]) {
    const client = await connect(target);
    assertEquals(await client.call("ping"), "pong");
    await client.close();
  }
}

async function run(name: RuntimeName, ...args: string[]): Promise<string> {
  const [program, ...flags] = (await runtime(name)).command;
  const { stdout } = await promisify(execFile)(program, [...flags, ...args], { cwd: root });
  return stdout;
}

/** Connects a person to the chat, and collects what they receive. */
async function joinChat({ url }: SpawnedServer) {
  const client = await connect(url.replace("http:", "ws:"));
  const said: string[] = [];
  const people: string[] = [];
  async function enter(room: string, name: string): Promise<void> {
    await client.call("enter", { room, name });
    await Promise.all((await client.getSubscriptions()).map((topic) => client.unsubscribe(topic)));
    await client.subscribe(`people.${room}`, (names) => people.push((names as string[]).join(" ")));
    await client.subscribe(`room.${room}`, (event) => {
      const { name, text } = event as { name: string; text: string };
      said.push(`${name}: ${text}`);
    });
  }
  return { client, said, people, enter };
}

/** Makes a key and a certificate, with the command of the example. */
async function certificate() {
  const folder = await mkdtemp(join(tmpdir(), "tls-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const text = await readFile(join(root, "examples/tls_node.ts"), "utf8");
  const [, command = ""] = /(openssl req (?:.*\\\n)*.*)/.exec(text) ?? [];
  const args = command.replaceAll(/\\\n \*/g, " ").trim().split(/\s+/).slice(1);
  const names: Record<string, string> = { "key.pem": key, "cert.pem": cert };
  await promisify(execFile)(programPath("openssl"), args.map((arg) => names[arg] ?? arg));
  return { folder, key, cert };
}

/** Makes a POST that trusts a certificate, which not every runtime's `fetch` can. */
function securePing(url: string, ca: string): Promise<{ result?: unknown }> {
  const agent = new Agent({ ca });
  const headers = { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const post = request(url, { method: "POST", agent, ca, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
      response.on("end", () => {
        agent.destroy();
        resolve(JSON.parse(text));
      });
    });
    post.on("error", reject);
    post.end(JSON.stringify({ jsonrpc: "2.0", method: "ping", id: 1 }));
  });
}
