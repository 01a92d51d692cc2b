/**
 * Brokers that are closed while they connect, and brokers that can never connect.
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";
import type { RedisBrokerOptions } from "@x/jsonrpc/redis";
import type { Broker } from "../../src/brokers/broker.ts";
import { startEngine } from "../helpers/brokers/engine.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";

/** A server that accepts connections and never says anything. */
async function silentServer(port = 0) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket)).resume();
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const makers: Readonly<Record<string, (port: number, publishTimeoutMs: number) => Broker>> = {
  redis: (port, publishTimeoutMs) =>
    redisBroker({ url: `redis://127.0.0.1:${port}`, publishTimeoutMs, logger: silentLog() }),
  sentinel: (port, publishTimeoutMs) => {
    const sentinel = { name: "news", sentinelRootNodes: [{ host: "127.0.0.1", port }] };
    return redisBroker({ sentinel, publishTimeoutMs, logger: silentLog() });
  },
  cluster: (port, publishTimeoutMs) => {
    const cluster = { rootNodes: [{ url: `redis://127.0.0.1:${port}` }] };
    return redisBroker({ cluster, publishTimeoutMs, logger: silentLog() });
  },
  nats: (port, publishTimeoutMs) =>
    natsBroker({ servers: `127.0.0.1:${port}`, publishTimeoutMs, logger: silentLog() }),
};
const KEEP = { size: 1, ageMs: Infinity };

for (const [kind, make] of Object.entries(makers)) {
  test(`a broker on a ${kind} that never answers rejects in time, and leaves no connection`, async () => {
    using server = await silentServer();
    const broker = make(server.port, 300);
    const publishing = Promise.resolve(broker.publish("a", "1", KEEP));
    await assertRejects(() => publishing, Error, 'Cannot publish to "a"');
    await broker.close();
    await until(() => server.sockets.size === 0);
  });

  test(`a process that closes its broker while that connects to ${kind} ends by itself`, async () => {
    using server = await silentServer();
    const { command: [program, ...flags] } = await runtime(runtimeHere);
    const child = spawn(
      program,
      [...flags, "tests/programs/broker_close.ts", kind, String(server.port)],
      {
        cwd: fileURLToPath(new URL("../..", import.meta.url)),
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    let [output, code] = ["", undefined as number | null | undefined];
    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
    child.once("close", (status) => code = status);
    try {
      await until(() => code !== undefined);
      assertMatch(output, /^CLOSED rejected rejected$/m);
      assertEquals(code, 0);
      await until(() => server.sockets.size === 0);
    } finally {
      child.kill("SIGKILL");
    }
  });
}

const FOREVER = { connectTimeout: 600_000, socketTimeout: 600_000 };
const WITH_TLS = { ...FOREVER, tls: true, rejectUnauthorized: false } as const;

/** Redis as a port that accepts connections and never answers, not even in a TLS handshake. */
const silentTargets: Readonly<Record<string, (port: number) => RedisBrokerOptions>> = {
  "a Redis": (port) => ({ client: { socket: { ...FOREVER, host: "127.0.0.1", port } } }),
  "a Redis with TLS": (port) => ({ client: { socket: { ...WITH_TLS, host: "127.0.0.1", port } } }),
  "a sentinel": (port) => sentinelsOf(port, FOREVER),
  "a sentinel with TLS": (port) => sentinelsOf(port, WITH_TLS),
  "a Redis Cluster": (port) => clusterOf(port, FOREVER),
  "a Redis Cluster with TLS": (port) => clusterOf(port, WITH_TLS),
};

function sentinelsOf(port: number, socket: typeof FOREVER): RedisBrokerOptions {
  const sentinelRootNodes = [{ host: "127.0.0.1", port }];
  const sentinelClientOptions = { socket, pingInterval: 600_000 };
  return { sentinel: { name: "news", sentinelRootNodes, sentinelClientOptions } };
}

function clusterOf(port: number, socket: typeof FOREVER): RedisBrokerOptions {
  const rootNodes = [{ socket: { host: "127.0.0.1", port } }];
  return { cluster: { rootNodes, defaults: { socket, pingInterval: 600_000 } } };
}

for (const [name, target] of Object.entries(silentTargets)) {
  test(`close() ends the socket to ${name} that never answers, however long the client would wait`, async () => {
    using server = await silentServer();
    const more = { publishTimeoutMs: 600_000, logger: silentLog() };
    const broker = redisBroker({ ...target(server.port), ...more });
    const publishing = Promise.resolve(broker.publish("a", "1", KEEP));
    await until(() => server.sockets.size > 0);
    await Promise.all([
      assertRejects(() => publishing, Error, "the broker is closed"),
      broker.close(),
    ]);
    await until(() => server.sockets.size === 0);
  });
}

test(
  "close() ends the socket of natsBroker() that connects again to a server that never answers",
  await needs("nats-server"),
  async () => {
    const engine = await startEngine("nats");
    const { port } = engine;
    const broker = natsBroker({
      servers: `127.0.0.1:${port}`,
      publishTimeoutMs: 600_000,
      logger: silentLog(),
    });
    await broker.publish("a", "1", KEEP);
    await engine[Symbol.asyncDispose]();
    using silent = await silentServer(port);
    await until(() => silent.sockets.size > 0);
    await broker.close();
    await until(() => silent.sockets.size === 0);
  },
);

test(
  "natsBroker() connects at once although another server of its cluster does not answer",
  await needs("nats-server"),
  async () => {
    using silent = await silentServer();
    await using engine = await startEngine("nats");
    const servers = [`127.0.0.1:${engine.port}`, `127.0.0.1:${silent.port}`];
    const connection = { noRandomize: true };
    const broker = natsBroker({ servers, connection, publishTimeoutMs: 500, logger: silentLog() });
    await broker.publish("a", "1", KEEP);
    await broker.close();
    await until(() => silent.sockets.size === 0);
  },
);
