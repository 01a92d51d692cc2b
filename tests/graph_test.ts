/**
 * Promises about the graph of imports, types included: a folder imports only the folders that it may, and no
 * import leads back to its file.
 */
import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import * as everything from "@x/jsonrpc";

/** Which folders of `src/` each folder may import, beside itself. A folder that is missing here has no place. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  util: [],
  protocol: ["util"],
  core: ["protocol", "util"],
  "brokers": ["util"],
  "brokers/remote": ["brokers", "util"],
  "brokers/redis": ["brokers", "brokers/remote", "util"],
  "brokers/nats": ["brokers", "brokers/remote", "util"],
  topics: ["brokers", "core", "protocol", "util"],
  transports: ["core", "protocol", "util"],
  client: ["core", "protocol", "util"],
  shared_worker: ["client", "core", "protocol", "transports", "util"],
  codegen: [],
  auth: ["core", "protocol", "util"],
  "auth/jwt": ["auth", "core", "protocol", "util"],
  "auth/passwd": ["auth", "core", "protocol", "util"],
  "auth/django": ["auth", "auth/passwd", "core", "protocol", "util"],
  runtimes: ["core", "protocol", "util"],
  "runtimes/workers": ["brokers", "runtimes", "core", "protocol", "util"],
  "runtimes/node": ["runtimes", "core", "protocol", "util"],
  server: [
    ...["auth", "brokers", "core", "protocol", "runtimes", "server/http", "topics", "util"],
  ],
  "server/http": ["server", "core", "protocol", "runtimes", "topics", "util"],
  cli: [
    ...["client", "codegen", "core", "inspector", "protocol", "runtimes", "runtimes/node"],
    ...["server", "testing", "transports", "util"],
  ],
  inspector: ["core"],
  otel: ["client", "core", "protocol", "util"],
  testing: ["client", "codegen", "core", "protocol", "runtimes", "server", "transports", "util"],
};

interface Import {
  /** A path from the top of the repository; a bare name as it is. */
  readonly to: string;
  readonly onlyTypes: boolean;
}

const root = new URL("../", import.meta.url);
const files = readdirSync(new URL("src", root), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => `src/${name.replaceAll("\\", "/")}`)
  .concat("mod.ts");
const sources = new Map(files.map((file) => [file, readFileSync(new URL(file, root), "utf8")]));
const graph = new Map(files.map((file) => [file, importsOf(file)]));

/** Gives a file's imports. They begin a line, unlike those in comments. */
function importsOf(file: string): Import[] {
  const statement = /^(?:import|export)(?<type> type)? (?:[^;"]*? from )?"(?<to>[^"]+)";$/gm;
  const dynamic = /^(?! *(?:\*|\/\/)).*\bimport\("(?<to>[^"]+)"\)/gm;
  const source = sources.get(file) ?? "";
  return [...source.matchAll(statement), ...source.matchAll(dynamic)].map(({ groups }) => ({
    to: resolved(file, groups?.to ?? ""),
    onlyTypes: groups?.type !== undefined,
  }));
}

function resolved(from: string, to: string): string {
  if (!to.startsWith(".")) return to;
  return new URL(to, new URL(from, root)).href.slice(root.href.length);
}

/** Gives all files that a file loads at run time, itself included. */
function closure(file: string, reached = new Set<string>()): Set<string> {
  reached.add(file);
  for (const { to, onlyTypes } of graph.get(file) ?? []) {
    if (!onlyTypes && !reached.has(to)) closure(to, reached);
  }
  return reached;
}

/** Gives a path of imports that leads back to one of its files. */
function circle(
  file: string,
  way: readonly string[] = [],
  clear = new Set<string>(),
): readonly string[] | undefined {
  if (way.includes(file)) return [...way, file];
  if (clear.has(file)) return undefined;
  for (const { to } of graph.get(file) ?? []) {
    const found = circle(to, [...way, file], clear);
    if (found !== undefined) return found;
  }
  clear.add(file);
  return undefined;
}

/** The folder of a file below `src/`: two levels deep at most. */
function folderOf(file: string): string {
  return file.split("/").slice(1, -1).join("/");
}

test("importsOf() finds imports of every kind", () => {
  const [mod, server] = [graph.get("mod.ts"), graph.get("src/server/server.ts")];
  assert(mod?.some(({ to, onlyTypes }) => to === "src/server/server.ts" && !onlyTypes));
  assert(mod?.some(({ to, onlyTypes }) => to === "src/core/request.ts" && onlyTypes));
  assert(server?.some(({ to, onlyTypes }) => to === "src/server/server_core.ts" && !onlyTypes));
  assert(server?.some(({ to, onlyTypes }) => to === "src/core/api.ts" && onlyTypes)); // over several lines
  assert(graph.get("src/runtimes/node/serve.ts")?.some(({ to }) => to === "node:net"));
  assert(!server?.some(({ to }) => to.includes("@x/jsonrpc")), "an example in a comment");
});

test("each file stands in a folder that has rules", () => {
  const lost = files.filter((file) => file !== "mod.ts" && !(folderOf(file) in MAY_IMPORT));
  assertEquals(lost, []);
});

test("each folder imports only the folders that it may", () => {
  const forbidden = files.filter((file) => file !== "mod.ts").flatMap((file) => {
    const own = folderOf(file);
    const allowed = [own, ...MAY_IMPORT[own] ?? []];
    return (graph.get(file) ?? [])
      .filter(({ to }) => to.startsWith("src/") && !allowed.includes(folderOf(to)))
      .map(({ to }) => `${file} → ${to}`);
  });
  assertEquals(forbidden, []);
});

test("topics/ knows brokers by their interface alone", () => {
  const known = files.filter((file) => folderOf(file) === "topics")
    .flatMap((file) => graph.get(file) ?? []).map(({ to }) => to)
    .filter((to) => to.startsWith("src/brokers/"));
  assertEquals([...new Set(known)], ["src/brokers/broker.ts"]);
});

test("no import leads back to its file, not even one of types", () => {
  for (const file of files) assertEquals(circle(file), undefined);
});

test("each relative import leads to a file", () => {
  const astray = [...graph.values()].flat().map(({ to }) => to)
    .filter((to) => /^(?:src\/|mod\.|\.)/.test(to) && !graph.has(to));
  assertEquals(astray, []);
});

test("mod.ts and ./client reach no package and nothing of a runtime's own", () => {
  for (const entry of ["mod.ts", "src/client/client.ts"]) {
    assertEquals([...closure(entry)].filter((file) => !graph.has(file)), [], entry);
  }
});

test("./client reaches only client/, core/, protocol/ and util/", () => {
  const reached = [...closure("src/client/client.ts")].map(folderOf);
  assertEquals([...new Set(reached)].sort(), ["client", "core", "protocol", "util"]);
});

test("mod.ts has at most 20 values and 50 names", () => {
  const values = Object.keys(everything);
  assert(values.length <= 20, `${values.length}: ${values}`);
  const lists = (sources.get("mod.ts") ?? "").matchAll(/^export (?:type )?\{([^}]*)\}/gm);
  const names = [...lists].flatMap(([, list = ""]) => list.match(/\w+/g) ?? []);
  assert(names.length <= 50, `${names.length}: ${names}`);
});

test("no file has more than 400 lines", () => {
  const long = files.filter((file) => (sources.get(file) ?? "").trimEnd().split("\n").length > 400);
  assertEquals(long, []);
});
