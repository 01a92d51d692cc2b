/**
 * What the compiler needs for a large API, beside tRPC with the same zod schemas: instantiations, the time of the
 * check, and the CPU time of the whole run, by TypeScript 5.9 and 7. Builds the npm package, and installs it with the
 * others in a temporary folder.
 *
 * All APIs are compiled once in each round, and the table has the least of all rounds: other work on the machine can
 * only add to a time. CPU time depends least on it.
 *
 *     deno task bench:types [ROUNDS]
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PACKAGES = [
  ...["@trpc/server@11", "@trpc/client@11", "zod@4"],
  ...["typescript5@npm:typescript@5.9", "typescript7@npm:typescript@7"],
];
const COMPILERS = ["typescript5", "typescript7"];
// How many methods stand in one file of a large API.
const PER_FILE = 50;
const OPTIONS = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  target: "es2022",
  lib: ["es2024", "dom", "dom.iterable", "esnext.disposable"],
  types: [],
  module: "esnext",
  moduleResolution: "bundler",
  allowImportingTsExtensions: true,
};

type Files = Record<string, string>;

/** How one API is written down: the text of one method, of a file of methods, and of the whole. */
interface Style {
  readonly file: (group: number, methods: string) => string;
  readonly method: (index: number) => string;
  readonly app: (groups: readonly number[]) => string;
  readonly client: string;
  readonly call: (group: number, index: number) => string;
}

const record: Style = {
  method: (i) => `  m${i}: method({ params: ${schema(i)} }, ${handler(i, "params")}),`,
  file: (group, methods) =>
    `import { z } from "zod";\nimport { method } from "@x/jsonrpc";\nexport const g${group} = {\n${methods}\n};\n`,
  app: (groups) =>
    `import { JsonRpc } from "@x/jsonrpc";\n${imports(groups)}
export const app = new JsonRpc().addMethods({ ${groups.map((group) => `g${group}`)} });\n`,
  client: `import { connect } from "@x/jsonrpc";\nimport type { app } from "./app.ts";
const client = await connect<typeof app>("ws://127.0.0.1");\n`,
  call: (group, i) =>
    i % 2 === 0
      ? `client.call("g${group}.m${i}", ${params(i)})`
      : `client.remote.g${group}.m${i}(${params(i)})`,
};

const trpc: Style = {
  method: (i) =>
    `  m${i}: t.procedure.input(${schema(i)}).mutation(${handler(i, "{ input: params }")}),`,
  file: (group, methods) =>
    `import { z } from "zod";\nimport { t } from "./t.ts";\nexport const g${group} = t.router({\n${methods}\n});\n`,
  app: (groups) =>
    `import { t } from "./t.ts";\n${imports(groups)}
export const app = t.router({ ${groups.map((group) => `g${group}`)} });\n`,
  client: `import { createTRPCClient, httpLink } from "@trpc/client";
import type { app } from "./app.ts";
const client = createTRPCClient<typeof app>({ links: [httpLink({ url: "http://127.0.0.1" })] });\n`,
  call: (group, i) => `client.g${group}.m${i}.mutate(${params(i)})`,
};

function schema(i: number): string {
  return `z.object({ id: z.string(), count: z.number(), tags: z.array(z.string()).optional(), kind: z.enum(["a", "m${i}"]) })`;
}

function handler(i: number, name: string): string {
  const how = i % 2 === 0 ? "" : "async ";
  return `${how}(${name}) => ({ id: params.id, n: params.count, nested: { ok: true, kind: params.kind } })`;
}

function params(i: number): string {
  return `{ id: "", count: 1, kind: "m${i}" }`;
}

function imports(groups: readonly number[]): string {
  return groups.map((group) => `import { g${group} } from "./g${group}.ts";`).join("\n");
}

/** An API in files of 50 methods each, and a client that makes ten calls. */
function split(style: Style, count: number): Files {
  const groups = Array.from({ length: Math.ceil(count / PER_FILE) }, (_, group) => group);
  const files: Files = {
    "t.ts": `import { initTRPC } from "@trpc/server";\nexport const t = initTRPC.create();\n`,
    "app.ts": style.app(groups),
    "client.ts": style.client + calls(style, count),
  };
  for (const group of groups) {
    const methods = Array.from(
      { length: Math.min(PER_FILE, count - group * PER_FILE) },
      (_, i) => style.method(group * PER_FILE + i),
    );
    files[`g${group}.ts`] = style.file(group, methods.join("\n"));
  }
  return files;
}

function calls(style: Style, count: number): string {
  const indices = Array.from({ length: 10 }, (_, k) => Math.floor(k * (count - 1) / 9));
  return indices.map((i, k) =>
    `export const r${k}: { id: string; n: number } = await ${
      style.call(Math.floor(i / PER_FILE), i)
    };\n`
  ).join("");
}

/** An API in one chain of `method` calls. */
function chain(count: number): Files {
  const links = Array.from(
    { length: count },
    (_, i) =>
      `  .method("g${Math.floor(i / PER_FILE)}.m${i}", { params: ${schema(i)} }, ${
        handler(i, "params")
      })`,
  );
  return {
    "app.ts":
      `import { z } from "zod";\nimport { JsonRpc } from "@x/jsonrpc";\nexport const app = new JsonRpc()\n${
        links.join("\n")
      };\n`,
    "client.ts": record.client + calls(record, count),
  };
}

/** What one run of a compiler needed. */
interface Need {
  readonly instantiations: number;
  readonly checkSeconds: number;
  readonly cpuSeconds: number;
}

async function measure(folder: string, project: string, compiler: string): Promise<Need> {
  const tsc = join(folder, "node_modules", compiler, "bin/tsc");
  const args = ["-p", project, "--extendedDiagnostics", "--pretty", "false"];
  // The last line of `times` is the user and system time of all programs that the shell has run.
  const said = await run("sh", ["-c", '"$@" && times', "sh", "node", tsc, ...args], folder);
  const number = (name: string) => Number(RegExp(`${name}:\\s+([\\d.]+)`).exec(said)?.[1]);
  const times = [...said.trimEnd().split("\n").at(-1)?.matchAll(/(\d+)m([\d.]+)s/g) ?? []];
  return {
    instantiations: number("Instantiations"),
    checkSeconds: number("Check time"),
    cpuSeconds: times.reduce(
      (sum, [, minutes, rest]) => sum + 60 * Number(minutes) + Number(rest),
      0,
    ),
  };
}

function least(a: Need, b: Need): Need {
  return {
    instantiations: Math.min(a.instantiations, b.instantiations),
    checkSeconds: Math.min(a.checkSeconds, b.checkSeconds),
    cpuSeconds: Math.min(a.cpuSeconds, b.cpuSeconds),
  };
}

function cells({ instantiations, checkSeconds, cpuSeconds }: Need): string[] {
  return [
    instantiations.toLocaleString("en"),
    `${checkSeconds.toFixed(1)} s`,
    `${cpuSeconds.toFixed(1)} s`,
  ];
}

async function writeProject(folder: string, files: Files): Promise<string> {
  const project = await mkdtemp(join(folder, "api-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(project, name), text);
  const config = { compilerOptions: OPTIONS, files: ["client.ts"] };
  await writeFile(join(project, "tsconfig.json"), JSON.stringify(config));
  return project;
}

async function run(program: string, args: string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd, maxBuffer: 1e8 });
  return stdout;
}

const rounds = Number(process.argv[2] ?? 3);
if (!Number.isInteger(rounds) || rounds < 1) {
  throw new RangeError(`Cannot measure ${process.argv[2]} rounds: expected a whole number from 1`);
}
const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "bench-types-"));
try {
  const built = await run(process.execPath, ["run", "-A", "tools/pack.ts", folder], root);
  await writeFile(join(folder, "package.json"), '{ "type": "module", "private": true }\n');
  const quiet = ["--no-audit", "--no-fund", "--silent"];
  await run("npm", ["install", ...quiet, built.trim(), ...PACKAGES], folder);
  const apis: [string, Files][] = [
    ...[200, 1000, 3000].flatMap((count): [string, Files][] => [
      [`records of ${count}`, split(record, count)],
      [`tRPC, routers of ${count}`, split(trpc, count)],
    ]),
    ["chain of 400", chain(400)],
  ];
  const projects = new Map<string, string>();
  for (const [name, files] of apis) projects.set(name, await writeProject(folder, files));
  const needs = new Map<string, Need>();
  for (let round = 1; round <= rounds; round++) {
    // Beside each other stand an API and tRPC's of the same size, which should meet the same load.
    for (const compiler of COMPILERS) {
      for (const [name, project] of projects) {
        const key = `${name}, ${compiler}`;
        const need = await measure(folder, project, compiler);
        needs.set(key, least(needs.get(key) ?? need, need));
        console.error(`round ${round}: ${key}: ${cells(need).join(", ")}`);
      }
    }
  }
  const columns = ["instantiations", "check", "CPU"];
  const head = [
    "API",
    ...["5.9", "7"].flatMap((version) => columns.map((name) => `${name} ${version}`)),
  ];
  const body = [...projects.keys()].map((name) => [
    name,
    ...COMPILERS.flatMap((compiler) => cells(needs.get(`${name}, ${compiler}`) as Need)),
  ]);
  const marks = ["---", ...head.slice(1).map(() => "--:")];
  for (const row of [head, marks, ...body]) console.log(`| ${row.join(" | ")} |`);
} finally {
  await rm(folder, { recursive: true });
}
