/**
 * The npm package: what is in it, and that it installs, runs and type-checks in new projects. It is the same
 * whichever runtime runs the suite, so these tests run on Deno alone, which builds it.
 */
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { needs } from "./helpers/needs.ts";
import { newProject } from "./helpers/project.ts";
import type { Project } from "./helpers/project.ts";
import { findNode, runtime } from "./helpers/runtimes.ts";

const onDeno = await needs("on deno");

const CONSUMER_SAYS = "3 4 seen 6\n12:00\ntrue\n5\n";
const CONSUMER_NODE_SAYS = "3 7 true 12:00\nRpcConnectionError 2\n";
const PEERS = [
  ...["@hono/node-server", "@nats-io/jetstream", "@nats-io/transport-node"],
  ...["@node-rs/argon2", "@node-rs/bcrypt", "@opentelemetry/api"],
  ...["ajv", "hono", "jose", "json-schema-to-typescript", "redis", "ws"],
];
// A file of the package may import other files of it, modules of Node, and the peers.
const IMPORTED = RegExp(`^(\\.\\.?/[\\w./]+\\.js|node:[\\w/]+|${PEERS.join("|")})$`);

test("the manifest of the npm package is complete, and names no dependencies", onDeno, async () => {
  await using project = await newProject();
  const files = await unpack(project);
  const manifest = JSON.parse(await project.read("package/package.json"));
  const { name, version, exports } = JSON.parse(
    await readFile(new URL("../deno.json", import.meta.url), "utf8"),
  );
  const { type, license, engines, dependencies, devDependencies, bin } = manifest;
  assertEquals([manifest.name, manifest.version], [name, version]);
  assertEquals([type, license, engines], ["module", "MIT", { node: ">=22" }]);
  assertEquals([dependencies, devDependencies], [undefined, undefined]);
  assertEquals(bin, { jsonrpc: "src/cli/bin.js" });
  assertEquals(Object.keys(manifest.peerDependencies), PEERS);
  for (const peer of PEERS) assertEquals(manifest.peerDependenciesMeta[peer], { optional: true });
  assertEquals(Object.keys(manifest.exports), Object.keys(exports));
  for (const entry of Object.values<{ types: string; default: string }>(manifest.exports)) {
    const targets = [entry.types.slice(2), entry.default.slice(2)];
    assertEquals(targets.filter((target) => !files.includes(target)), []);
  }
});

test(
  "the npm package holds the module, its papers and its guides, and nothing of where it was built",
  onDeno,
  async () => {
    await using project = await newProject();
    const files = await unpack(project);
    const papers = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
    assertEquals(papers.filter((paper) => !files.includes(paper)), []);
    const guides = (await readdir(new URL("../docs", import.meta.url))).map((name) =>
      `docs/${name}`
    );
    assertEquals(guides.filter((guide) => !files.includes(guide)), []);
    for (const path of files.filter((path) => ![...papers, ...guides].includes(path))) {
      assertMatch(path, /^(mod|src\/.+)\.(js|d\.ts)$/);
      const code = await project.read(`package/${path}`);
      for (
        const [, from = ""] of code.matchAll(/^[^*\n]*(?:\*\/ )?(?:im|ex)port .* from "(.+)";$/gm)
      ) {
        assertMatch(from, IMPORTED, path);
      }
      assertEquals(/file:\/\/|sourceMappingURL|\b(?:npm|jsr):/.exec(code), null, path);
    }
  },
);

for (const major of [22, 24, 26]) {
  const needed = await needs("on deno", `node@${major}`);
  test(
    `the npm package works in a new project on Node ${major}, alone and with its peers`,
    needed,
    async () => {
      await using project = await newProject();
      const node = await findNode(major) as string;
      await npmInstall(project, project.tarball);
      assertEquals(await project.installed(), ["@x/jsonrpc"]);
      const said = await project.run(node, "consumer.ts");
      assertEquals(said.slice(0, CONSUMER_SAYS.length), CONSUMER_SAYS);
      assertStringIncludes(said, "Cannot find package '@hono/node-server'");
      const help = await project.runBin(node, "jsonrpc", "--help");
      assertStringIncludes(help, "Usage: jsonrpc COMMAND");

      await npmInstall(project, ...await peersOf(project));
      await project.write("consumer_brokers.ts", CONSUMER_BROKERS);
      assertEquals(await project.run(node, "consumer.ts"), `${CONSUMER_SAYS}./node loads\n`);
      assertEquals(await project.run(node, "consumer_node.ts"), CONSUMER_NODE_SAYS);
      assertEquals(await project.run(node, "consumer_brokers.ts"), "brokers load\n");
    },
  );
}

test(
  "jsonrpc says which Node it needs, on one that is too old",
  await needs("on deno", "node@20"),
  async () => {
    await using project = await newProject();
    const node = await findNode(20) as string;
    await npmInstall(project, project.tarball);
    const { message } = await assertRejects(
      () => project.run(node, "node_modules/@x/jsonrpc/src/cli/bin.js", "--help"),
      Error,
    );
    assertMatch(message, /\n\njsonrpc needs Node 22 or newer; this is Node 20\.[\d.]+\n$/);
  },
);

test(
  "the npm package works in a new project on Bun, alone and with its peers",
  await needs("on deno", "bun"),
  async () => {
    const { command: [bun] } = await runtime("bun");
    await using project = await newProject();
    await project.run(bun, "add", project.tarball);
    assertEquals(await project.installed(), ["@x/jsonrpc"]);
    const said = await project.run(bun, "consumer.ts");
    assertEquals(said.slice(0, CONSUMER_SAYS.length), CONSUMER_SAYS);
    assertStringIncludes(said, "@hono/node-server");
    await project.write("consumer_bun.ts", CONSUMER_BUN);
    assertEquals(await project.run(bun, "consumer_bun.ts"), "pong\n");

    await project.run(bun, "add", ...await peersOf(project));
    assertEquals(await project.run(bun, "consumer.ts"), `${CONSUMER_SAYS}./node loads\n`);
    assertEquals(await project.run(bun, "consumer_node.ts"), CONSUMER_NODE_SAYS);
  },
);

test(
  "the types of the npm package pass in strict projects for Node, Bun and browsers",
  onDeno,
  async () => {
    await using project = await newProject();
    await npmInstall(project, project.tarball, "typescript", "@types/node", "@types/bun");
    await project.write("consumer_bun.ts", CONSUMER_BUN);
    await project.write("consumer_page.ts", CONSUMER_PAGE);
    const tsc = project.path("node_modules/.bin/tsc");
    const nodenext = [...STRICT, "--module", "nodenext"];
    const bundler = [...STRICT, "--module", "esnext", "--moduleResolution", "bundler"];
    const onNode = ["--types", "node", "consumer.ts", "consumer_node.ts"];
    assertEquals(await project.run(tsc, ...nodenext, "--lib", "es2022", ...onNode), "");
    const onBun = ["--types", "bun", "consumer.ts", "consumer_node.ts", "consumer_bun.ts"];
    assertEquals(await project.run(tsc, ...bundler, ...onBun), "");
    assertEquals(await project.run(tsc, ...bundler, "--lib", "es2022,dom", "consumer_page.ts"), "");
  },
);

/** Unpacks the tarball, to `package/`, and lists what was in it. */
async function unpack(project: Project): Promise<string[]> {
  const listed = await project.run("tar", "-xvzf", project.tarball);
  return listed.trim().split("\n").map((path) => path.replace("package/", ""));
}

async function npmInstall(project: Project, ...packages: string[]): Promise<void> {
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--silent"];
  await project.run("npm", "install", ...quiet, ...packages);
}

/** The optional peers of the installed package, in the versions that it names. */
async function peersOf(project: Project): Promise<string[]> {
  const manifest = await project.read("node_modules/@x/jsonrpc/package.json");
  const { peerDependencies } = JSON.parse(manifest) as { peerDependencies: object };
  return Object.entries(peerDependencies).map(([name, range]) => `${name}@${range}`);
}

const STRICT = [
  ...["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"],
  ...["--skipLibCheck", "false", "--target", "es2022"],
];

const CONSUMER_BROKERS = `import { natsBroker } from "@x/jsonrpc/nats";
import { redisBroker } from "@x/jsonrpc/redis";

for (const broker of [natsBroker(), redisBroker()]) await broker.close();
console.log("brokers load");
`;

// Texts, since the types of Bun, of pages and of Deno clash.
const CONSUMER_BUN = `import { connect, JsonRpc } from "@x/jsonrpc";

const rpc = new JsonRpc().method("ping", () => "pong");
const { fetch, websocket } = rpc;
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch, websocket });
const client = await connect<typeof rpc>(\`ws://127.0.0.1:\${server.port}\`);
const pong: string = await client.call("ping");
console.log(pong);
await client.close();
await server.stop(true);
`;

const CONSUMER_PAGE = `import { connect } from "@x/jsonrpc/client";
import { JsonRpc } from "@x/jsonrpc";

const rpc = new JsonRpc().method("ping", () => "pong");
const client = await connect<typeof rpc>(new WebSocket("ws://127.0.0.1"));
const pong: string = await client.call("ping");
document.title = pong;
await connect("http://127.0.0.1", { WebSocket, fetch });
`;
