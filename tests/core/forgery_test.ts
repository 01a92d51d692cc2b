// A handler gets objects that are internal too. By their plain names it can neither send text of its own
// nor answer a call twice.

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient, bareServer } from "../helpers/wire.ts";

const FORGED = "not json";

/** Argument lists that a handler might try. */
const ATTEMPTS: readonly (readonly unknown[])[] = [
  [FORGED],
  [true, FORGED],
  [FORGED, undefined, 0],
  [[FORGED]],
  [{ text: FORGED, id: 1, result: FORGED }],
];

/** Members that end the connection as they should, or belong to the runtime. */
const LEFT_OUT = new Set(["constructor", "close", "terminate", "logger", "signal", "headers"]);

/** The functions that are reachable by plain names, as paths from a request. */
function functionsOf(value: unknown, path: readonly string[] = [], seen = new Set()): string[][] {
  if (typeof value !== "object" || value === null || seen.has(value) || path.length > 5) return [];
  seen.add(value);
  const found: string[][] = [];
  for (
    let owner = value;
    owner && owner !== Object.prototype;
    owner = Object.getPrototypeOf(owner)
  ) {
    for (const name of Object.getOwnPropertyNames(owner)) {
      if (LEFT_OUT.has(name)) continue;
      const member: unknown = Reflect.get(owner, name, value);
      if (typeof member === "function") found.push([...path, name]);
      else found.push(...functionsOf(member, [...path, name], seen));
    }
  }
  return found;
}

/** Calls a function that a path leads to. */
function attempt(request: object, path: readonly string[], args: readonly unknown[]): void {
  let owner: unknown = request;
  for (const name of path.slice(0, -1)) owner = (owner as Record<string, unknown>)[name];
  try {
    const result = (owner as Record<string, (...args: unknown[]) => unknown>)
      [path.at(-1) as string]?.(...args);
    if (result instanceof Promise) result.catch(() => {});
  } catch {
    // Refused.
  }
}

/** Checks what the other end got: messages of JSON-RPC, and one answer unless the connection has ended. */
function check(received: readonly string[], what: string, isOpen = true): void {
  const messages = received.map((text) => JSON.parse(text));
  assert(messages.every(({ jsonrpc }) => jsonrpc === "2.0"), what);
  const answers = messages.filter(({ id, method }) => id === 1 && method === undefined);
  assertEquals(answers, isOpen ? [{ jsonrpc: "2.0", result: "done", id: 1 }] : [], what);
}

test("a handler of a server cannot send text of its own, or answer twice, by a plain name", async () => {
  let paths: string[][] = [];
  let run = (_request: RpcRequest): void => {};
  const rpc = new JsonRpc({ logger: silentLog() }).method("forge", async (_params, request) => {
    run(request as RpcRequest);
    await quietMoment();
    return "done";
  });
  run = (request) => paths = functionsOf(request);
  const first = bareClient(rpc);
  first.call(1, "forge");
  await first.next();
  assert(paths.some((path) => path.join(".") === "connection.notify"));
  for (const path of paths) {
    for (const args of ATTEMPTS) {
      const wire = bareClient(rpc);
      let isOpen = true;
      run = (request) => {
        attempt(request, path, args);
        isOpen = request.connection.isOpen;
      };
      wire.call(1, "forge");
      await quietMoment();
      await quietMoment();
      check(wire.received, `${path.join(".")}(${JSON.stringify(args)})`, isOpen);
      wire.close();
    }
  }
});

test("a handler of a client cannot send text of its own, or answer twice, by a plain name", async () => {
  let run = (_request: RpcRequest): void => {};
  const forge = async (_params: unknown, request: RpcRequest) => {
    run(request);
    await quietMoment();
    return "done";
  };
  let paths: string[][] = [];
  run = (request) => paths = functionsOf(request);
  const [client, first] = await bareServer({ logger: silentLog() });
  client.method("forge", forge);
  first.call(1, "forge");
  await first.next();
  assert(paths.length > 0);
  await client.close();
  for (const path of paths) {
    for (const args of ATTEMPTS) {
      const [client, wire] = await bareServer({ logger: silentLog(), reconnect: false });
      client.method("forge", forge);
      let isOpen = true;
      run = (request) => {
        attempt(request, path, args);
        isOpen = request.connection.isOpen;
      };
      wire.call(1, "forge");
      await quietMoment();
      await quietMoment();
      check(wire.received, `${path.join(".")}(${JSON.stringify(args)})`, isOpen);
      // Not awaited: a handler that has dropped its own connection may have left it half closed.
      void client.close();
      wire.close();
    }
  }
});

test("a handler over HTTP cannot answer with text of its own by a plain name", async () => {
  let paths: string[][] = [];
  let run = (_request: RpcRequest): void => {};
  const rpc = new JsonRpc({ logger: silentLog() }).method("forge", (_params, request) => {
    run(request as RpcRequest);
    return "done";
  });
  await using server = await serveHere(rpc);
  const post = async () => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ jsonrpc: "2.0", method: "forge", id: 1 });
    return await (await fetch(server.url, { method: "POST", headers, body })).text();
  };
  run = (request) => paths = functionsOf(request);
  check([await post()], "nothing");
  for (const path of paths) {
    run = (request) => ATTEMPTS.forEach((args) => attempt(request, path, args));
    check([await post()], path.join("."));
  }
});
