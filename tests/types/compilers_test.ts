/**
 * What must and what must not compile, with the texts of the errors, by TypeScript 5.9, TypeScript 7 and Deno. The
 * programs are texts, since half of their lines are wrong: a comment `// ERROR: text` says which error the next line
 * has, and every other line must have none.
 */
import { assert, assertEquals } from "@std/assert";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { needs } from "../helpers/needs.ts";
import { newProject } from "../helpers/project.ts";
import type { Project } from "../helpers/project.ts";

// The package is the same on every runtime.
const onDeno = await needs("on deno");
const COMPILERS = ["typescript5", "typescript7"];
const PACKAGES = ["typescript5@npm:typescript@5.9", "typescript7@npm:typescript@7", "zod@4"];
const STRICT = ["--strict", "--skipLibCheck", "--target", "es2022", "--types", "node"];
const BUNDLER = [...STRICT, "--module", "esnext", "--moduleResolution", "bundler"];
// What TypeScript 5.9 does if it is not told more; 7 is strict.
const LOOSE = [...BUNDLER, "--strict", "false"];
const LIBS = ["--lib", "es2024,dom,dom.iterable,esnext.disposable"];

/** A project with the npm package, both compilers and the programs. */
async function typedProject(): Promise<Project> {
  const project = await newProject();
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--silent"];
  await project.run("npm", "install", ...quiet, project.tarball, ...PACKAGES, "@types/node");
  for (const name of ["wrong", "declared", "use_declared"]) {
    await project.write(`${name}.ts`, await text(name));
  }
  return project;
}

function text(name: string): Promise<string> {
  return readFile(new URL(`./${name}.txt`, import.meta.url), "utf8");
}

/** Runs a compiler and gives what it writes. */
async function compile(project: Project, compiler: string, ...args: string[]): Promise<string> {
  const program = project.path(`node_modules/${compiler}/bin/tsc`);
  return await project.run("node", program, "--pretty", "false", ...args).then(
    (said) => said,
    ({ message }) => message,
  );
}

/** Which lines have not the errors that they say. */
function surprises(program: string, said: string): string[] {
  const lines = program.split("\n");
  const found = errorsByLine(said);
  const wrong: string[] = [];
  lines.forEach((line, index) => {
    const expected = /^\s*\/\/ ERROR: (.*)$/.exec(lines[index - 1] ?? "")?.[1]?.split(" or ") ?? [];
    const error = found.get(index + 1);
    const fits = error === undefined
      ? expected.length === 0
      : expected.some((part) => error.includes(part));
    if (!fits) wrong.push(`${line.trim()}\n  expected: ${expected}\n  got: ${error}`);
  });
  return wrong;
}

function errorsByLine(said: string): Map<number, string> {
  const errors = new Map<number, string>();
  let current: number | undefined;
  for (const line of said.split("\n")) {
    const at = /^\w+\.ts\((\d+),\d+\): error/.exec(line)?.[1];
    if (at !== undefined) current = Number(at);
    if (current !== undefined) errors.set(current, `${errors.get(current) ?? ""}${line}\n`);
  }
  return errors;
}

/** The tsconfig.json of a project that others refer to. */
function composite(module: "bundler" | "nodenext"): string {
  return JSON.stringify({
    compilerOptions: {
      composite: true,
      outDir: module,
      rootDir: ".",
      strict: true,
      target: "es2022",
      lib: ["es2024", "dom", "dom.iterable", "esnext.disposable"],
      types: ["node"],
      ...module === "bundler" ? { module: "esnext", moduleResolution: module } : { module },
    },
    files: ["declared.ts"],
  });
}

test("TypeScript 5.9 and 7 refuse each wrong line of wrong.txt, and say why", onDeno, async () => {
  await using project = await typedProject();
  const program = await text("wrong");
  for (const compiler of COMPILERS) {
    const said = await compile(project, compiler, ...BUNDLER, ...LIBS, "--noEmit", "wrong.ts");
    assertEquals(surprises(program, said), [], compiler);
  }
});

test("deno check finds as many errors in wrong.txt", onDeno, async () => {
  await using project = await newProject();
  const program = await text("wrong");
  await project.write("wrong.ts", program);
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const check = ["check", "--quiet", "--config", config, project.path("wrong.ts")];
  const env = { ...process.env, NO_COLOR: "1" };
  const { stderr } = await promisify(execFile)(process.execPath, check, { env }).catch((e) => e);
  const lines = [...stderr.matchAll(/wrong\.ts:(\d+):\d+/g)].map(([, line]) => Number(line));
  const expected = program.split("\n").flatMap((line, index) =>
    /^\s*\/\/ ERROR: /.test(line) ? [index + 2] : []
  );
  assertEquals(expected.filter((line) => !lines.includes(line)), []);
});

test(
  "declarations of a server and a client name all their types, and keep them",
  onDeno,
  async () => {
    await using project = await typedProject();
    const program = await text("use_declared");
    const nodenext = [...STRICT, "--module", "nodenext"];
    for (const compiler of COMPILERS) {
      for (const [out, options] of [["bundler", BUNDLER], ["nodenext", nodenext]] as const) {
        await project.write("declared.json", composite(out));
        assertEquals(await compile(project, compiler, "-p", "declared.json"), "");
        await project.write(`${out}/package.json`, '{ "type": "module" }');
        await project.write(`${out}/use_declared.ts`, program);
        const use = ["--noEmit", `${out}/use_declared.ts`];
        const said = await compile(project, compiler, ...options, ...LIBS, ...use);
        assertEquals(surprises(program, said.replaceAll(`${out}/`, "")), [], `${compiler}, ${out}`);
      }
    }
  },
);

test(
  "an editor goes from a method of client.remote to its handler",
  onDeno,
  async () => {
    await using project = await typedProject();
    await project.write(
      "users.ts",
      `import { JsonRpc, method } from "@x/jsonrpc";
const users = {
  get: method({}, ([id]: [number]) => id),
  list: () => ["ann"],
  roles: { all: () => ["admin"] },
};
export const rpc = new JsonRpc().addMethods("users", users).addMethods({ ping: () => "pong" });
`,
    );
    await project.write(
      "page.ts",
      `import { connect } from "@x/jsonrpc/client";
import type { rpc } from "./users.ts";
const client = await connect<typeof rpc>("ws://127.0.0.1");
client.remote.users.get([1]);
client.remote.users.list();
client.remote.users.roles.all();
client.remote.ping();
`,
    );
    await project.write("definition.mjs", await text("definition"));
    assertEquals((await project.run("node", "definition.mjs")).trim().split("\n"), [
      "client.remote.users.get: users.ts: get: method({}, ([id]: [number]) => id),",
      'client.remote.users.list: users.ts: list: () => ["ann"],',
      'client.remote.users.roles.all: users.ts: all: () => ["admin"] },',
      'client.remote.ping: users.ts: ping: () => "pong" });',
    ]);
  },
);

test(
  "the source type-checks with default options when it is imported by path",
  onDeno,
  async () => {
    await using project = await typedProject();
    const root = new URL("../../", import.meta.url);
    const { exports } = JSON.parse(await readFile(new URL("deno.json", root), "utf8"));
    const entryPoints = Object.values<string>(exports).map((path) =>
      fileURLToPath(new URL(path, root))
    );
    await project.write("by_path.ts", entryPoints.map((path) => `import "${path}";\n`).join(""));
    const types = [
      "--typeRoots",
      project.path("node_modules/@types"),
      "--allowImportingTsExtensions",
    ];
    const flags = [...LIBS, ...types, "--noEmit", "by_path.ts"];
    for (const compiler of COMPILERS) {
      assertEquals(await compile(project, compiler, ...BUNDLER, ...flags), "", compiler);
      assertEquals(await compile(project, compiler, ...LOOSE, ...flags), "", `${compiler}, loose`);
    }
    // Deno finds no packages without the imports of deno.json: these two need none.
    const [main, client] = ["mod.ts", "src/client/client.ts"].map((path) =>
      new URL(path, root).href
    );
    await project.write("by_path.ts", `import "${main}";\nimport "${client}";\n`);
    await project.run(process.execPath, "check", "--no-config", "--quiet", "by_path.ts");
  },
);

test("a chain of 400 methods needs at most 3 million instantiations", onDeno, async () => {
  await using project = await typedProject();
  const links = Array.from(
    { length: 400 },
    (_, i) =>
      `.method("m${i}", { params: z.object({ id: z.string(), n: z.literal(${i}) }) }, (params) => ({ ...params }))`,
  );
  await project.write(
    "chain.ts",
    `import { JsonRpc } from "@x/jsonrpc";
import { z } from "zod";
export const rpc = new JsonRpc()
${links.join("\n")};
`,
  );
  // In a file of its own, which TypeScript 7 gives to another of its checkers: each works out the whole chain.
  await project.write(
    "calls.ts",
    `import { connect } from "@x/jsonrpc";
import type { rpc } from "./chain.js";
const client = await connect<typeof rpc>("ws://127.0.0.1");
(await client.call("m399", { id: "", n: 399 })).n satisfies 399;
`,
  );
  for (const compiler of COMPILERS) {
    const args = [...BUNDLER, ...LIBS, "--noEmit", "--extendedDiagnostics", "calls.ts"];
    const said = await compile(project, compiler, ...args);
    const needed = Number(/^Instantiations:\s+(\d+)$/m.exec(said)?.[1]);
    assert(needed <= 3_000_000, `${compiler}: ${said}`);
  }
});
