/**
 * Floods of logins: what they cost, whom they hold up, and what the log says of them.
 */
import { assert, assertEquals } from "@std/assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { JsonRpcClient, RpcError } from "@x/jsonrpc";
import { passwd } from "@x/jsonrpc/passwd";
import type { PasswdOptions } from "@x/jsonrpc/passwd";
import { linkedSockets } from "@x/jsonrpc/testing";
import { deferred, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

/** A server with the user ann. */
async function home(options: PasswdOptions) {
  const folder = await mkdtemp(join(tmpdir(), "logins-"));
  const users = passwd(join(folder, "users.txt"), { rounds: 1000, attempts: 10_000, ...options });
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).use(users).method("ping", () => "pong");
  await users.createUser("ann", "right");
  return {
    logger,
    client(): Promise<JsonRpcClient> {
      const [near, far] = linkedSockets();
      rpc.attach(far);
      return connect(near) as unknown as Promise<JsonRpcClient>;
    },
    async [Symbol.asyncDispose]() {
      await rpc.close({ drainMs: 0 });
      await rm(folder, { recursive: true });
    },
  };
}

type DeriveBits = SubtleCrypto["deriveBits"];

/** Puts a function in the place of the one that hashes. */
function replaceHash(derive: (algorithm: Pbkdf2Params) => Promise<ArrayBuffer>): Disposable {
  const owner = Object.getPrototypeOf(crypto.subtle) as { deriveBits: DeriveBits };
  const { deriveBits } = owner;
  owner.deriveBits = ((algorithm: Pbkdf2Params) => derive(algorithm)) as DeriveBits;
  return { [Symbol.dispose]: () => void (owner.deriveBits = deriveBits) };
}

test("200 logins of an unknown user and 200 with a wrong password do the same work", async () => {
  await using place = await home({});
  await using client = await place.client();
  const works: string[][] = [];
  for (const username of ["ann", "nobody"]) {
    const work: string[] = [];
    using _hash = replaceHash(({ name, hash, iterations, salt }) => {
      work.push(`${name} ${JSON.stringify(hash)} ${iterations} ${salt.byteLength}`);
      return Promise.resolve(new ArrayBuffer(32));
    });
    for (let count = 0; count < 200; count++) {
      assertEquals(await client.call("login", { username, password: `wrong ${count}` }), false);
    }
    works.push(work);
  }
  assertEquals(works[0], new Array(200).fill('PBKDF2 "SHA-256" 1000 16'));
  assertEquals(works[1], works[0]);
});

test("50 logins at once hash two passwords at a time, and hold up no ping", async () => {
  await using place = await home({ maxHashes: 2, maxWaiting: 16 });
  await using other = await place.client();
  const clients = await Promise.all(Array.from({ length: 50 }, place.client));
  const gate = deferred();
  let [hashing, most] = [0, 0];
  using _hash = replaceHash(async () => {
    most = Math.max(most, ++hashing);
    await gate.promise;
    hashing--;
    return new ArrayBuffer(32);
  });
  const logins = clients.map((each) => each.call("login", ["ann", "wrong"]));
  const codes = Promise.all(
    logins.map((each) => each.then((answer) => answer, ({ code }: RpcError) => code)),
  );
  await until(() => hashing === 2);
  for (let count = 0; count < 20; count++) assertEquals(await other.call("ping"), "pong");
  // Two are hashed and 16 wait; the others are refused.
  await until(async () => (await unsettled(logins)).length === 18);
  gate.resolve();
  const outcomes = await codes;
  assertEquals(outcomes.filter((each) => each === -32009).length, 32);
  assertEquals(outcomes.filter((each) => each === false).length, 18);
  assertEquals(most, 2);
  await Promise.all(clients.map((each) => each.close()));
});

test("no log of logins holds a token or a password", async () => {
  const secret = "a secret of more than thirty-two characters";
  await using place = await home({ tokens: { secret } });
  await using client = await place.client();
  await client.call("login", ["ann", "right"]);
  const token = await client.call("login_token") as string;
  assert(token.length > 20);
  await using again = await place.client();
  assertEquals(await again.call("login_with_token", [token]), true);
  const changed = `${token.slice(0, -4)}AAAA`;
  await again.call("login_with_token", [changed]).catch(() => {});
  await again.call("login_with_token", { token: [token] }).catch(() => {});
  await again.call("login", ["ann", "pa55word"]);
  assert(place.logger.lines.length > 0);
  for (const hidden of ["right", "pa55word", token.slice(10, 40), token.slice(-20)]) {
    assert(!place.logger.text.includes(hidden), place.logger.text);
  }
});
