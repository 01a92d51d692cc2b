/**
 * Other libraries that do the same work: installed on demand, in a temporary folder.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { aiohttpCheckout } from "../helpers/aiohttp.ts";
import type { Contender } from "./workloads.ts";

interface Peer {
  readonly name: string;
  readonly packages: readonly string[];
  readonly dialect: string;
  /** The runtimes that its authors support. */
  readonly runtimes: readonly RuntimeName[];
}

const NODE = ["node"] as const;
const PEERS: readonly Peer[] = [
  {
    name: "json-rpc-2.0",
    packages: ["json-rpc-2.0@1"],
    dialect: "jsonRpc",
    runtimes: ["node", "bun", "deno"],
  },
  {
    name: "rpc-websockets",
    packages: ["rpc-websockets@10"],
    dialect: "jsonRpc",
    runtimes: NODE,
  },
  { name: "jayson", packages: ["jayson@5", "ws@8"], dialect: "jsonRpc", runtimes: NODE },
  {
    name: "vscode-jsonrpc",
    packages: ["vscode-jsonrpc@8", "ws@8"],
    dialect: "jsonRpc",
    runtimes: NODE,
  },
  { name: "tRPC", packages: ["@trpc/server@11", "ws@8"], dialect: "tRpc", runtimes: NODE },
  { name: "socket.io", packages: ["socket.io@4"], dialect: "socketIo", runtimes: NODE },
];

/** The other libraries, ready to run. */
export class Peers {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Installs them from npm. */
  static async install(): Promise<Peers> {
    const folder = await mkdtemp(join(tmpdir(), "peers-"));
    await writeFile(join(folder, "package.json"), '{ "private": true }\n');
    const packages = [...new Set(PEERS.flatMap((peer) => peer.packages))];
    const args = ["install", "--silent", "--no-audit", "--no-fund", ...packages];
    await promisify(execFile)("npm", args, { cwd: folder });
    return new Peers(folder);
  }

  /** Gives those that run on a runtime, and the original library, if there is a checkout of it. */
  on(runtime: RuntimeName): Contender[] {
    const peers = PEERS.filter(({ runtimes }) => runtimes.includes(runtime)).map((peer) => ({
      title: peer.name,
      runtime,
      args: ["tests/bench/peer_server.ts", peer.name, this.#folder],
      dialect: peer.dialect,
    }));
    const checkout = aiohttpCheckout();
    if (checkout === undefined) return peers;
    const args = ["tests/programs/aiohttp_server.py", checkout];
    const original = { title: "aiohttp-json-rpc", args, dialect: "jsonRpc" };
    return [...peers, { ...original, runtime: "python" }];
  }

  /** Removes the folder. */
  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
