/**
 * What the compiler needs for a large API, beside tRPC with the same zod schemas: instantiations and the time of the
 * check, by TypeScript 5.9 and 7. Builds the npm package, and installs it with the others in a temporary folder.
 *
 *     deno task bench:types
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
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

async function measure(folder: string, files: Files, compiler: string): Promise<string[]> {
  const project = await mkdtemp(join(folder, "api-"));
  await mkdir(project, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(project, name), text);
  const config = { compilerOptions: OPTIONS, files: ["client.ts"] };
  await writeFile(join(project, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(folder, "node_modules", compiler, "bin/tsc");
  const args = [tsc, "-p", project, "--extendedDiagnostics", "--pretty", "false"];
  const said = await run("node", args, folder);
  const number = (name: string) => RegExp(`${name}:\\s+([\\d.]+)`).exec(said)?.[1] ?? "?";
  return [
    Number(number("Instantiations")).toLocaleString("en"),
    `${Number(number("Check time")).toFixed(2)} s`,
  ];
}

async function run(program: string, args: string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd, maxBuffer: 1e8 });
  return stdout;
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
  const rows = [["API", "instantiations 5.9", "check 5.9", "instantiations 7", "check 7"]];
  for (const [name, files] of apis) {
    const row = [name];
    for (const compiler of COMPILERS) {
      row.push(...await measure(folder, files, compiler));
    }
    rows.push(row);
    console.error(row.join("  "));
  }
  const [head = [], ...body] = rows.map((row) => `| ${row.join(" | ")} |`);
  console.log([head, "| --- | --: | --: | --: | --: |", ...body].join("\n"));
} finally {
  await rm(folder, { recursive: true });
}
