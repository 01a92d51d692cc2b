/**
 * Clients of blockchains drive subscriptions by id: `ethers` as of an Ethereum node, and `rpc-websockets` as the
 * library of Solana uses it. Both run on each runtime. They are no dependencies of this repository: `ethers` pins
 * types of an older Node, and `rpc-websockets` brings native parts to `ws`, for all that imports it.
 */
import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { RpcRequest, StreamMethodOptions } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { npmFolder } from "../helpers/npm_install.ts";
import { runtime } from "../helpers/runtimes.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { serveHere } from "../helpers/server.ts";

const PROGRAMS = ["talking.ts", "ethers_client.ts", "rpc_websockets_client.ts"];
const installing = npmFolder(
  ["ethers@6.17.0", "rpc-websockets@10.0.1"],
  PROGRAMS.map((name) => new URL(`../programs/${name}`, import.meta.url)),
);
after(async () => await (await installing)[Symbol.asyncDispose]());

/** A subscription that a client has. */
interface Open {
  readonly params: unknown;
  /** Gives it an item. */
  put(item: unknown): void;
  /** Has no more items. */
  end(): void;
}

/** The subscriptions of a server: the test plays what gives their items. */
class Feed {
  readonly open = new Set<Open>();

  source(params: unknown): ReadableStream<object> {
    let open: Open | undefined;
    return new ReadableStream<object>({
      start: (controller) => {
        open = {
          params,
          put: (item) => controller.enqueue(item as object),
          end: () => (controller.close(), this.open.delete(open as Open)),
        };
        this.open.add(open);
      },
      cancel: () => void this.open.delete(open as Open),
    });
  }

  /** The only subscription. */
  get only(): Open {
    assertEquals(this.open.size, 1);
    const [only] = this.open;
    return only as Open;
  }
}

/** A program that obeys the test. */
class Program implements AsyncDisposable {
  readonly said: unknown[][] = [];
  readonly #child: ChildProcess;
  #taken = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    const lines = createInterface({ input: child.stdout! });
    lines.on("line", (line) => this.said.push(JSON.parse(line)));
  }

  static async start(name: RuntimeName, file: string, url: string): Promise<Program> {
    const { path: cwd } = await installing;
    const [program] = (await runtime(name)).command;
    const flags = name === "deno" ? ["run", "-A", "--no-config", "--node-modules-dir=manual"] : [];
    const stdio = ["pipe", "pipe", "inherit"] as const;
    return new Program(spawn(program, [...flags, file, url], { cwd, stdio: [...stdio] }));
  }

  /** What it says next. */
  async next(): Promise<unknown[]> {
    await until(() => this.said.length > this.#taken || this.#child.exitCode !== null);
    return this.said[this.#taken++] ?? ["ended", this.#child.exitCode];
  }

  /** Gives the result of a command. */
  async do(command: string, argument?: string): Promise<unknown> {
    this.#child.stdin!.write(`${JSON.stringify([command, argument])}\n`);
    const [name, result] = await this.next();
    assertEquals(name, command);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await until(() => this.#child.exitCode !== null);
  }
}

function server(method: string, names: StreamMethodOptions) {
  const feed = new Feed();
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("eth_chainId", () => "0x539")
    .method("eth_blockNumber", () => "0x10")
    .topic("news")
    .stream(method, names, (params: unknown) => feed.source(params))
    .use({
      name: "rpc-websockets",
      methods: {
        "rpc.on": {
          handler: async (topics: string[], { connection }: RpcRequest) => {
            await connection.subscribe(topics);
            return Object.fromEntries(topics.map((each) => [each, "ok"]));
          },
        },
        "rpc.off": {
          handler: async (topics: string[], { connection }: RpcRequest) => {
            await connection.unsubscribe(topics);
            return Object.fromEntries(topics.map((each) => [each, "ok"]));
          },
        },
      },
    });
  return { feed, rpc };
}

function closeAll(rpc: JsonRpc): void {
  for (const connection of rpc.connections) connection.close(4000, "Again");
}

const ADDRESS = "0x00000000000000000000000000000000000000aa";
const HASH = `0x${"1".repeat(64)}`;
const LOG = {
  address: ADDRESS,
  blockHash: HASH,
  blockNumber: "0x12",
  data: "0xbeef",
  logIndex: "0x0",
  removed: false,
  topics: [HASH],
  transactionHash: HASH,
  transactionIndex: "0x0",
};

for (const name of ["deno", "bun", "node"] as const) {
  const needed = await needs(name);

  test(
    `ethers on ${name} subscribes to blocks and logs, unsubscribes, and comes back`,
    needed,
    async () => {
      let last = 0;
      const { feed, rpc } = server("eth_subscribe", {
        unsubscribe: "eth_unsubscribe",
        notification: "eth_subscription",
        id: () => `0x${(++last).toString(16)}`,
      });
      await using local = await serveHere(rpc);
      await using client = await Program.start(name, "ethers_client.ts", local.ws);
      assertEquals(await client.do("height"), 16);

      await client.do("blocks");
      await until(() => feed.open.size === 1);
      const heads = feed.only;
      assertEquals(heads.params, ["newHeads"]);
      for (const number of ["0x11", "0x12"]) heads.put({ number, hash: HASH });
      assertEquals([await client.next(), await client.next()], [["block", 17], ["block", 18]]);

      await client.do("logs", ADDRESS);
      await until(() => feed.open.size === 2);
      const [, logs] = feed.open;
      assertEquals(logs?.params, ["logs", { address: [ADDRESS], topics: [] }]);
      logs?.put(LOG);
      assertEquals(await client.next(), ["log", "0xbeef"]);

      await client.do("noBlocks");
      await until(() => feed.open.size === 1);
      assertEquals(feed.only, logs);
      // Nothing tells it that the items have ended: it goes on.
      logs?.end();
      assertEquals(await client.do("height"), 16);

      closeAll(rpc);
      assertEquals(await client.next(), ["close", 4000]);
      await client.do("again");
      await client.do("blocks");
      await until(() => feed.open.size === 1);
      feed.only.put({ number: "0x13", hash: HASH });
      assertEquals(await client.next(), ["block", 19]);
    },
  );

  test(
    `rpc-websockets on ${name} subscribes to slots as clients of Solana do, and reconnects`,
    needed,
    async () => {
      let last = 0;
      const { feed, rpc } = server("slotSubscribe", {
        unsubscribe: "slotUnsubscribe",
        notification: "slotNotification",
        id: () => ++last,
      });
      await using local = await serveHere(rpc);
      await using client = await Program.start(name, "rpc_websockets_client.ts", local.ws);
      assertEquals(await client.next(), ["open"]);
      assertEquals(await client.do("add"), 3);
      assertEquals(await client.do("fail"), -32601);
      await client.do("ping");

      assertEquals(await client.do("slots"), 1);
      const slot = { slot: 76, parent: 75, root: 44 };
      feed.only.put(slot);
      assertEquals(await client.next(), ["slot", { subscription: 1, result: slot }]);

      closeAll(rpc);
      assertEquals(await client.next(), ["close", 4000]);
      assertEquals(await client.next(), ["open"]);
      await until(() => feed.open.size === 0);
      assertEquals(await client.do("slots"), 2);
      feed.only.put(slot);
      assertEquals(await client.next(), ["slot", { subscription: 2, result: slot }]);
      assertEquals(await client.do("noSlots"), true);
      assertEquals(await client.do("noSlots"), false);
      await until(() => feed.open.size === 0);

      // The way in which its own server has topics.
      assertEquals(await client.do("news"), { news: "ok" });
      rpc.publish("news", { text: "hi" });
      assertEquals(await client.next(), ["news", { text: "hi" }]);
      assertEquals(await client.do("noNews"), { news: "ok" });
      assertEquals(rpc.publish("news", "unheard").deliveries, 0);
    },
  );
}
