/**
 * `client.remote` calls methods of the server, and nothing else does: not what looks at it.
 */
import { test } from "node:test";
import { inspect } from "node:util";
import { assertEquals, assertRejects } from "@std/assert";
import { JsonRpc, RpcMethodNotFoundError } from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

/** What a client's proxy has called on the server after each of these. */
async function callsOf(look: (remote: never) => unknown): Promise<string[]> {
  const calls: string[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .use((request, next) => (calls.push(request.method), next()));
  const client = await pair(rpc);
  const remote = client.remote as unknown as { readonly math: unknown };
  for (const each of [remote, remote.math]) {
    try {
      await look(each as never);
    } catch (error) {
      // What cannot be done with a function fails here as it does there.
      if (!(error instanceof TypeError)) throw error;
    }
  }
  await quietMoment();
  await client.close();
  return calls;
}

// As matchers of Jest and Vitest do, and the printers of their failures.
function match(value: Record<string, unknown>): void {
  for (const name of ["asymmetricMatch", "toJSON", "hasAttribute", "then"]) {
    if (typeof value[name] === "function") (value[name] as (value: unknown) => void)(value);
  }
}

const looks: Readonly<Record<string, (remote: never) => unknown>> = {
  "await": async (remote) => await remote,
  "Promise.resolve": (remote) => Promise.resolve(remote),
  "JSON.stringify": (remote) => JSON.stringify({ remote, list: [remote] }),
  "JSON.stringify of itself": (remote) => JSON.stringify(remote),
  "console.log": (remote) => console.debug(remote, { remote }),
  "inspect": (remote) => inspect({ remote }, { depth: 5, showProxy: false }),
  "inspect with proxies": (remote) => inspect({ remote }, { depth: 5, showProxy: true }),
  "String": (remote) => String(remote),
  "a template": (remote) => `${remote}`,
  "Number": (remote) => Number(remote),
  "a comparison": (remote) => [remote < 1, remote == "x", remote + "x"],
  "toString": (remote: object) => remote.toString(),
  "toLocaleString": (remote: object) => remote.toLocaleString(),
  "valueOf": (remote: object) => remote.valueOf(),
  "hasOwnProperty": (remote: object) => Object.prototype.hasOwnProperty.call(remote, "add"),
  "bind": (remote: () => void) => remote.bind(null),
  "instanceof": (remote: object) => [remote instanceof Promise, remote instanceof Function],
  "a copy": (remote: object) => ({ ...remote }),
  "a list": (remote: Iterable<unknown>) => [...remote],
  "for await": async (remote: AsyncIterable<unknown>) => {
    for await (const _ of remote);
  },
  "Object.keys": (remote: object) => [Object.keys(remote), Object.entries(remote)],
  "structuredClone": (remote) => {
    try {
      structuredClone(remote);
    } catch {
      // A function cannot be cloned.
    }
  },
  "new": (remote: new () => unknown) => new remote(),
  "test matchers": match,
  "using": (remote: Disposable) => remote[Symbol.dispose]?.(),
  "await using": (remote: AsyncDisposable) => remote[Symbol.asyncDispose]?.(),
};

for (const [what, look] of Object.entries(looks)) {
  test(`client.remote calls nothing on ${what}`, async () => {
    assertEquals(await callsOf(look), []);
  });
}

test("client.remote calls methods whose names are those of plain members of functions", async () => {
  const rpc = new JsonRpc().method("user.name", () => "ada").method("length", () => 3);
  await using client = await pair(rpc);
  const remote = client.remote as unknown as Record<string, () => Promise<unknown>> & {
    user: { name(): Promise<string> };
  };
  assertEquals([await remote.user.name(), await remote["length"]?.()], ["ada", 3]);
});

test("client.remote gives the rejection of a method that is not there to its caller", async () => {
  await using client = await pair(new JsonRpc());
  const remote = client.remote as unknown as { math: { add(): Promise<unknown> } };
  await assertRejects(() => remote.math.add(), RpcMethodNotFoundError);
});
