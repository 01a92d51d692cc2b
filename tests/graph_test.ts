/**
 * Promises about the graph of imports, types included: the house has floors, and who stands on one leans only
 * on what is below.
 */
import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import * as everything from "@x/jsonrpc";

/**
 * The floors from the cellar up, each file behind those of its own floor that it may import. A new file goes
 * where it fits; one that fits nowhere is a sign.
 */
const HOUSE: Readonly<Record<string, readonly string[]>> = {
  cellar: [
    ...["errors", "limits", "channel", "logger", "timer", "schema", "api", "close_options"],
    ...["backoff"],
  ],
  workshop: [
    ...[
      "depth",
      "protocol",
      "middleware",
      "attempt",
      "socket",
      "testing",
      "tick",
      "chunks",
      "body",
      "discard",
    ],
    ...["upgrade", "inbox", "wake"],
  ],
  hallway: [
    ...["pending", "request", "plugin", "hooks"],
    ...["runtimes/runtime", "runtimes/bun", "runtimes/deno", "runtimes/choose"],
    ...["runtimes/ws_frame", "runtimes/ws_channel", "runtimes/light_response"],
    ...["runtimes/node_upgrade", "runtimes/node"],
  ],
  "work rooms": [
    ...["responder", "dispatch", "methods", "conversation", "guest", "peer", "origin", "handshake"],
    ...["connections", "drain", "openrpc"],
    ...["pubsub/broker", "pubsub/memory_broker", "pubsub/soon", "pubsub/notified"],
    ...["pubsub/topic_options", "pubsub/declarations", "pubsub/backlog", "pubsub/topic_event"],
    ...["pubsub/member", "pubsub/plain_member", "pubsub/recovering_member", "pubsub/ear"],
    ...["pubsub/topic", "pubsub/subscribing", "pubsub/topics"],
    ...["auth/guards", "sockets", "sse", "http", "stream", "streams", "server_options", "doors"],
    ...["auth/milliseconds", "auth/alarms", "auth/bearer", "auth/cookie", "auth/session"],
    ...["auth/jwt_keys", "auth/jwt_verify", "auth/jwt"],
    ...["auth/turnstile", "auth/throttle", "auth/password_hash", "auth/passwd_table"],
    ...["auth/exclusive_write", "auth/passwd_file", "auth/passwd_accounts", "auth/passwd_live"],
    ...["auth/passwd"],
    ...["pubsub/topic_name", "pubsub/rounds", "pubsub/engine", "pubsub/follower"],
    ...["pubsub/redis_scripts", "pubsub/redis_clients", "pubsub/redis"],
    ...["pubsub/nats_history", "pubsub/nats_making", "pubsub/nats_stream", "pubsub/nats"],
    ...["client_options", "dialer", "outbox", "session", "link", "post"],
    ...["client_events", "client_link", "calls", "subscriptions", "remote"],
  ],
  salons: ["server", "client"],
};

/** All files of the module, the lowest first. */
const house = [...Object.values(HOUSE).flat().map((name) => `src/${name}.ts`), "mod.ts"];

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

/** What stands in a file's imports: those at the start of a line, so that none in a comment counts. */
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

/** All that a file reaches at run time, itself included. */
function closure(file: string, reached = new Set<string>()): Set<string> {
  reached.add(file);
  for (const { to, onlyTypes } of graph.get(file) ?? []) {
    if (!onlyTypes && !reached.has(to)) closure(to, reached);
  }
  return reached;
}

/** A way that leads from a file back to itself, or to a file that it passed. */
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

test("importsOf() finds imports of every kind", () => {
  const [mod, server] = [graph.get("mod.ts"), graph.get("src/server/server.ts")];
  assert(mod?.some(({ to, onlyTypes }) => to === "src/server/server.ts" && !onlyTypes));
  assert(mod?.some(({ to, onlyTypes }) => to === "src/core/plugin.ts" && onlyTypes));
  assert(server?.some(({ to, onlyTypes }) => to === "src/protocol/limits.ts" && !onlyTypes));
  assert(server?.some(({ to, onlyTypes }) => to === "src/core/api.ts" && onlyTypes)); // over several lines
  assert(graph.get("src/runtimes/node/serve.ts")?.some(({ to }) => to === "node:net"));
  assert(!server?.some(({ to }) => to.includes("@x/jsonrpc")), "an example in a comment");
});

test("each file has its place in the house, and each place its file", () => {
  assertEquals(files.filter((file) => !house.includes(file)), [], "files without a place");
  assertEquals(house.filter((file) => !files.includes(file)), [], "places without a file");
  assertEquals(new Set(house).size, house.length);
});

test("each file imports only from lower floors, or from before it on its own", () => {
  const upwards = files.flatMap((file) =>
    (graph.get(file) ?? [])
      .filter(({ to }) => house.indexOf(to) >= house.indexOf(file))
      .map(({ to }) => `${file} → ${to}`)
  );
  assertEquals(upwards, []);
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
  for (const door of ["mod.ts", "src/client/client.ts"]) {
    assertEquals([...closure(door)].filter((file) => !graph.has(file)), [], door);
  }
});

test("./client reaches no room of the server", () => {
  const room =
    /^src\/(?:server|methods|http|connections|dispatch|guest|peer|origin|upgrade|pubsub\/|auth\/|runtimes\/)/;
  assertEquals([...closure("src/client/client.ts")].filter((file) => room.test(file)), []);
});

test("mod.ts has at most 20 values", () => {
  const values = Object.keys(everything);
  assert(values.length <= 20, `${values.length}: ${values}`);
});

test("no file has more than 400 lines", () => {
  const long = files.filter((file) => (sources.get(file) ?? "").trimEnd().split("\n").length > 400);
  assertEquals(long, []);
});
