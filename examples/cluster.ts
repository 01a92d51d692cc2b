/**
 * Shared by the two examples of a cluster: Redis or NATS, two servers that share a topic through it, two
 * clients that subscribe to the topic, and a server that is killed. Run one of:
 *
 *     deno run -A examples/cluster_redis.ts
 *     deno run -A examples/cluster_nats.ts
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectTo, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { connect } from "@x/jsonrpc";

const EVENTS = 30;
const KILLED_AT = 10;

/**
 * Runs the example to its end.
 *
 * @param file The program of a server; its argument is the port of Redis or NATS.
 * @param program `redis-server` or `nats-server`.
 * @param args Gives the arguments of `program`.
 */
export async function play(
  file: string,
  program: string,
  args: (port: number, folder: string) => readonly string[],
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "cluster-"));
  const port = await freePort();
  const broker = spawn(program, args(port, folder), { stdio: "ignore" });
  broker.once("error", ({ message }) => console.error(`Cannot start ${program}: ${message}`));
  const servers: ChildProcess[] = [];
  try {
    await listening(port);
    // Each is a process of its own, as it would be on a machine of its own.
    const starting = [1, 2].map(() => spawn(process.execPath, [...command(), file, `${port}`]));
    servers.push(...starting);
    const ports = await Promise.all(starting.map(announced));
    await show(servers, ports);
  } finally {
    for (const child of [...servers, broker]) child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

async function show(servers: readonly ChildProcess[], ports: readonly number[]): Promise<void> {
  // Two load balancers: Ada gets the first server, Bob the second, as long as these run.
  const balancers = [await balancer(ports), await balancer(ports.toReversed())] as const;
  const [ada, bob] = [await newClient("Ada", balancers[0]), await newClient("Bob", balancers[1])];
  for (let n = 1; n <= EVENTS; n++) {
    await bob.client.call("publish", [n]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (n !== KILLED_AT) continue;
    servers[0]?.kill("SIGKILL");
    console.log("-- Ada's server is killed; Bob goes on publishing --");
  }
  for (const { client, received, name } of [ada, bob]) {
    while (received.length < EVENTS) await new Promise((resolve) => setTimeout(resolve, 50));
    const whole = received.every((n, index) => n === index + 1);
    console.log(
      `${name} got ${received.length} of ${EVENTS}: ${whole ? "nothing lost" : received}`,
    );
    await client.close();
  }
  for (const { close } of balancers) close();
}

async function newClient(name: string, { port }: Balancer) {
  const client = await connect(`ws://127.0.0.1:${port}`);
  client.addEventListener("open", () => console.log(`-- ${name} is back --`));
  const received: unknown[] = [];
  const receive = (n: unknown) => {
    received.push(n);
    console.log(name, n);
  };
  const onGap = () => console.log(name, "has lost something");
  await client.subscribe("news", receive, { recover: true, onGap });
  return { client, received, name };
}

interface Balancer {
  readonly port: number;
  close(): void;
}

/** Passes each connection on to the first server that takes it. */
async function balancer(ports: readonly number[]): Promise<Balancer> {
  const open = new Set<Socket>();
  const pass = (near: Socket, [port, ...others]: readonly number[]) => {
    if (port === undefined) return void near.destroy();
    const far = connectTo(port, "127.0.0.1");
    far.once("error", () => pass(near, others));
    far.once("connect", () => {
      near.pipe(far).pipe(near);
      near.once("close", () => far.destroy());
      far.once("close", () => near.destroy());
    });
  };
  const server: Server = createServer((near) => {
    open.add(near.on("error", () => {}));
    pass(near, ports);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  return { port: (server.address() as AddressInfo).port, close };
}

/** Flags with which this very runtime runs a file as it runs this one. */
function command(): readonly string[] {
  return "Deno" in globalThis ? ["run", "-A"] : process.execArgv;
}

async function announced(server: ChildProcess): Promise<number> {
  server.stderr?.pipe(process.stderr);
  for await (const line of createInterface(server.stdout as NonNullable<ChildProcess["stdout"]>)) {
    const [, port] = /^LISTENING \S+:(\d+)$/.exec(line) ?? [];
    if (port !== undefined) return Number(port);
  }
  throw new Error("Cannot start a server");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const socket = connectTo(port, "127.0.0.1", () => resolve(true)).on(
      "error",
      () => resolve(false),
    );
    const taken = await promise;
    socket.destroy();
    if (taken) return;
    await new Promise((next) => setTimeout(next, 20));
  }
  throw new Error("The broker does not listen");
}
