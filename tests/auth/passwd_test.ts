import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { spawn } from "node:child_process";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import {
  connect,
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcError,
  RpcInvalidParamsError,
} from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { passwd } from "@x/jsonrpc/passwd";
import type { PasswdOptions, PasswdUser } from "@x/jsonrpc/passwd";
import { linkedSockets } from "@x/jsonrpc/testing";
import { lockedWrite } from "../../src/auth/passwd/locked_write.ts";
import { Accounts } from "../../src/auth/passwd/accounts.ts";
import { PasswdFile } from "../../src/auth/passwd/file.ts";
import { PasswdLogins } from "../../src/auth/passwd/methods.ts";
import { checkName, checkPermission, PasswdTable } from "../../src/auth/passwd/table.ts";
import type { PasswdRecord } from "../../src/auth/passwd/table.ts";
import { PasswordHasher } from "../../src/auth/passwd/hash.ts";
import type { Derive } from "../../src/auth/passwd/hash.ts";
import { Throttle } from "../../src/auth/passwd/throttle.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { bareClient } from "../helpers/wire.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import type { Runtime } from "../helpers/runtimes.ts";

/** A folder for users.txt, gone when the test ends. */
async function home(text?: string) {
  const folder = await mkdtemp(join(tmpdir(), "passwd-"));
  const path = join(folder, "users.txt");
  if (text !== undefined) await writeFile(path, text);
  return {
    folder,
    path,
    read: () => readFile(path, "utf8"),
    table: async () => PasswdTable.parse(await readFile(path, "utf8")),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

const WEAK = { rounds: 1000 };

/** A server with guarded methods and topics. The password of each user is the name. */
async function served(path: string, options: PasswdOptions = {}) {
  const users = passwd(path, { ...WEAK, ...options });
  await users.createUser("root", "root", { superuser: true });
  await users.createUser("ann", "ann");
  await users.createUser("bob", "bob", { permissions: ["operate"] });
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .use(users)
    .method("whoami", { use: [loginRequired] }, (_: unknown, { user }) => user.name)
    .method("restart", { use: [permissionRequired("operate")] }, () => "restarted")
    .topic("alarms", { guards: [permissionRequired("operate")] })
    .topic("news");
  return { users, rpc, logger };
}

/** A client without types. */
async function client(
  rpc: Pick<JsonRpc, "attach">,
  remoteAddress?: string,
): Promise<JsonRpcClient> {
  const [near, far] = linkedSockets();
  rpc.attach(far, remoteAddress === undefined ? {} : { remoteAddress });
  return await connect(near);
}

function login(who: JsonRpcClient, username: string, password = username): Promise<unknown> {
  return who.call("login", { username, password });
}

/** The code and the data of the error that a call is answered with. */
async function refusal(call: Promise<unknown>): Promise<[code: number, data: unknown]> {
  const error = await assertRejects(() => call);
  assertInstanceOf(error, RpcError);
  const { code, data } = error as RpcError;
  return [code, data];
}

/** In place of PBKDF2: takes no time. */
const quick: Derive = (password, salt, rounds) => {
  const mixed = new TextEncoder().encode(`${password} ${salt.join()} ${rounds}`);
  return Promise.resolve(new Uint8Array(32).map((_, index) => mixed[index] ?? 0));
};

/** A server that hashes passwords as the test says. */
function mounted(path: string, derive: Derive, bounds = { concurrency: 100, maxWaiting: 100 }) {
  const hooks = { written() {} };
  const file = new PasswdFile(path, () => logins.refresh());
  const update = file.update;
  file.update = (change, written) =>
    update.call(file, change, () => {
      hooks.written();
      written?.();
    });
  const accounts = new Accounts(file, new PasswordHasher({ ...bounds, rounds: 1000, derive }));
  const throttle = new Throttle({ attempts: 10, firstWaitMs: 1000, maxWaitMs: 60_000 });
  const logins = new PasswdLogins({ accounts, throttle, addressOf: (from) => from.remoteAddress });
  const rpc = new JsonRpc({ logger: silentLog() })
    .use({
      name: "test",
      methods: logins.methods(),
      onUserChange: (connection) => logins.userChanged(connection),
      onClose: (connection) => logins.closed(connection),
    })
    .method("whoami", (_: unknown, { user }) => (user as PasswdUser | null)?.name ?? null);
  return { accounts, rpc, hooks };
}

function accountsOf(path: string): Accounts {
  const hasher = new PasswordHasher({
    rounds: 1000,
    concurrency: 100,
    maxWaiting: 100,
    derive: quick,
  });
  return new Accounts(new PasswdFile(path), hasher);
}

function recordOf(name: string, permissions: string[] = []): PasswdRecord {
  const salt = new Uint8Array([1, 2, 3, 4]);
  const hash = new Uint8Array(32).fill(7);
  return { name, rounds: 1000, salt, hash, permissions: new Set(permissions), superuser: false };
}

const HASH = "f92d0c0b7758f48a976587412c2bf21b7f1dae21875133fda2983fa4cbf1ea9d";
const SALT = "00112233445566778899aabbccddeeff";

// -- the file's format --

// As aiohttp-json-rpc 0.13 writes it; the hashes by Python's hashlib.pbkdf2_hmac.
const AIOHTTP_FILE = `ann:${HASH}:${SALT}:100000:
bob:e8c937fefb1334bf14f486460619fd807e4dbd87f1a0a6b02ee8201ef7439d77:ffeeddccbbaa99887766554433221100:100000:operate,create_user
`;

test("users of aiohttp-json-rpc's file log in with their passwords and permissions", async () => {
  await using place = await home(AIOHTTP_FILE);
  const rpc = new JsonRpc().use(passwd(place.path, WEAK))
    .method("me", (_: unknown, { user }) => user && [user.name, ...user.permissions]);
  await using someone = await client(rpc);
  assertEquals(await login(someone, "ann", "secret"), true);
  assertEquals(await someone.call("me"), ["ann"]);
  assertEquals(await login(someone, "bob", "pässwörd"), true);
  assertEquals(await someone.call("me"), ["bob", "operate", "create_user"]);
  assertEquals(await place.read(), AIOHTTP_FILE);
});

test("the first five fields of a line are those of aiohttp-json-rpc", async () => {
  await using place = await home(AIOHTTP_FILE);
  const users = passwd(place.path, WEAK);
  await users.setPermissions("bob", { superuser: true });
  const [ann, bob, ...rest] = (await place.read()).split("\n");
  const [before] = AIOHTTP_FILE.split("\n").slice(1);
  assertEquals(ann, `ann:${HASH}:${SALT}:100000::pbkdf2-sha256`);
  assertEquals(bob, `${before}:pbkdf2-sha256:superuser`);
  assertEquals(rest, [""]);
});

test("new hashes have 600,000 rounds, and the line has that number", async () => {
  await using place = await home();
  await passwd(place.path).createUser("ann", "ann");
  assertEquals((await place.table()).get("ann")?.rounds, 600_000);
});

test("a hash with few rounds is renewed when its user logs in, and no connection is logged out", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using before = await client(rpc);
  await login(before, "bob");
  await before.subscribe("alarms", () => {});

  const dearer = new JsonRpc({ logger: silentLog() }).use(passwd(place.path, { rounds: 2000 }));
  await using someone = await client(dearer);
  assertEquals(await login(someone, "bob", "wrong"), false);
  assertEquals((await place.table()).get("bob")?.rounds, 1000);
  assertEquals(await login(someone, "bob"), true);
  assertEquals(await login(someone, "bob"), true);
  const table = await place.table();
  assertEquals([table.get("bob")?.rounds, table.get("ann")?.rounds], [2000, 1000]);
  assertEquals([...table.get("bob")?.permissions ?? []], ["operate"]);

  await using other = await client(rpc);
  assertEquals(await login(other, "bob"), true); // looks at the file again
  assertEquals(await before.getSubscriptions(), ["alarms"]);
  assertEquals((await place.table()).get("bob")?.rounds, 2000); // never made cheaper
});

test("renewing a hash does not overwrite a password that was set in the meantime", async () => {
  await using place = await home();
  const users = accountsOf(place.path);
  await users.create("ann", "old", {});
  const verified = (await place.table()).get("ann") as PasswdRecord;
  await users.setPassword("ann", "new");
  const before = await place.read();
  const dearer = new PasswordHasher({ rounds: 2000, concurrency: 1, maxWaiting: 1, derive: quick });
  await new Accounts(new PasswdFile(place.path), dearer).renew(verified, "old");
  assertEquals(await place.read(), before);
});

test("a user can log in although the hash cannot be renewed", async () => {
  await using place = await home();
  await served(place.path);
  await writeFile(`${place.path}.lock`, "no folder: nothing can be written");
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).use(passwd(place.path, { rounds: 2000 }));
  await using someone = await client(rpc);
  assertEquals(await login(someone, "ann"), true);
  assertStringIncludes(logger.text, "warn: Cannot renew the hash of a password");
});

test("comments and empty lines stay where they are", async () => {
  const text = `# those who may\r\nann:${HASH}:${SALT}:1000:x\n\n#bob:${HASH}:${SALT}:1000:\n# end`;
  await using place = await home(text);
  const users = passwd(place.path, WEAK);
  await users.createUser("cleo", "cleo");
  await users.deleteUser("ann");
  const [one, two, three, four, cleo, end] = (await place.read()).split("\n");
  assertEquals([one, two, three, four], [
    "# those who may",
    "",
    `#bob:${HASH}:${SALT}:1000:`,
    "# end",
  ]);
  assertEquals([cleo?.startsWith("cleo:"), end], [true, ""]);
  assertEquals(await users.createUser("bob", "bob"), true);
});

test("an error names the bad line of the file, and the file is not overwritten", async () => {
  const good = `ann:${HASH}:${SALT}:1000:`;
  for (
    const [line, why] of [
      ["bob", "expected 5 to 7 fields"],
      [`bob:${HASH}:${SALT}:1000`, "expected 5 to 7 fields"],
      [`${good}:pbkdf2-sha256:superuser:more`, "expected 5 to 7 fields"],
      [`:${HASH}:${SALT}:1000:`, "The name is empty"],
      [`b\tob:${HASH}:${SALT}:1000:`, "not printable"],
      [`bob:${HASH.slice(2)}:${SALT}:1000:`, "expected the hash"],
      [`bob:${HASH.slice(2)}xy:${SALT}:1000:`, "expected the hash"],
      [`bob:${HASH}::1000:`, "expected the salt"],
      [`bob:${HASH}:abc:1000:`, "expected the salt"],
      [`bob:${HASH}:${SALT}:0:`, "expected the rounds"],
      [`bob:${HASH}:${SALT}:-5:`, "expected the rounds"],
      [`bob:${HASH}:${SALT}:1e3:`, "expected the rounds"],
      [`bob:${HASH}:${SALT}:99999999999:`, "expected the rounds"],
      [`bob:${HASH}:${SALT}:1000::md5`, "expected the algorithm"],
      [`bob:${HASH}:${SALT}:1000::pbkdf2-sha256:root`, 'expected "superuser"'],
      [`bob:${HASH}:${SALT}:1000:a\u0001b`, "not printable"],
      [good, "two lines have this name"],
    ] as const
  ) {
    const text = `# users\n${good}\n${line}\n`;
    await using place = await home(text);
    const users = passwd(place.path, WEAK);
    const error = await assertRejects(() => users.reload(), Error, "users.txt, line 3: ");
    assertStringIncludes((error as Error).message, why);
    assertEquals((error as Error).message.includes(HASH.slice(0, 8)), false);
    await assertRejects(() => users.createUser("cleo", "cleo"), Error, "line 3");
    await assertRejects(() => users.deleteUser("ann"), Error, "line 3");
    assertEquals(await place.read(), text);
  }
});

test("a file that is not UTF-8 is not read, since writing it would change it", async () => {
  await using place = await home();
  await writeFile(place.path, new Uint8Array([0x23, 0x0a, 0x23, 0xff, 0x0a]));
  await assertRejects(() => passwd(place.path, WEAK).reload(), Error, "line 2: expected UTF-8");
});

// Whatever could break a line, beside any text at all.
const texts = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.array(
    fc.constantFrom(
      ":",
      ",",
      "#",
      "\n",
      "\r",
      " ",
      "\u2028",
      "\ufeff",
      "\ufffd",
      "\ud800",
      "a",
      "é",
      "👍",
    ),
  )
    .map((parts) => parts.join("")),
);

test("every name and permission is read from the file as it was written, or is refused", () => {
  fc.assert(
    fc.property(texts, texts, (name, permission) => {
      try {
        name = checkName(name);
        checkPermission(permission);
      } catch (error) {
        assertInstanceOf(error, RpcInvalidParamsError);
        return;
      }
      const table = new PasswdTable();
      const records = [recordOf("first"), recordOf(name, [permission, "x"]), recordOf("last")];
      for (const record of records) table.set(record);
      const text = new TextDecoder().decode(new TextEncoder().encode(String(table)));
      const again = PasswdTable.parse(text);
      assertEquals([...again.lines.values()], [...table.lines.values()]);
    }),
    { numRuns: 1000 },
  );
});

test("createUser() and setPermissions() refuse what the file cannot hold, and write nothing", async () => {
  await using place = await home();
  const accounts = accountsOf(place.path);
  await accounts.create("first", "first", { permissions: ["x"] });
  await fc.assert(
    fc.asyncProperty(texts, texts, async (name, permission) => {
      const before = await place.read();
      try {
        const created = await accounts.create(name, "password", { permissions: [permission] });
        const found = (await place.table()).get(name.normalize("NFKC"));
        assertEquals(created, true);
        assertEquals([...found?.permissions ?? []], [permission]);
        assertEquals(await accounts.delete(name), true);
      } catch (error) {
        assertInstanceOf(error, RpcInvalidParamsError);
      }
      assertEquals(await place.read(), before);
    }),
    { numRuns: 40 },
  );
});

test("names, permissions and passwords that the file cannot hold are answered with -32602 and a reason", async () => {
  await using place = await home();
  const { users } = await served(place.path);
  const before = await place.read();
  for (
    const [name, why] of [
      ["", "is empty"],
      ["a:b", "contains `:`"],
      ["a\nroot:00:00:1:", "contains `:`"],
      ["a\nb", "not printable"],
      ["a\u0000b", "not printable"],
      ["a\ud800", "not printable"],
      ["#a", "starts with `#`"],
      ["a".repeat(256), "over 255 characters"],
      [5 as never, "is a number"],
    ] as const
  ) await assertRejects(() => users.createUser(name, "x"), RpcInvalidParamsError, why);
  for (const permission of ["", "a:b", "a,b", "a\nb", "a".repeat(256)]) {
    const rights = { permissions: ["x", permission] };
    await assertRejects(() => users.createUser("new", "x", rights), RpcInvalidParamsError);
    await assertRejects(() => users.setPermissions("ann", rights), RpcInvalidParamsError);
  }
  for (const password of ["", "\ud800", 5 as never]) {
    await assertRejects(() => users.createUser("new", password), RpcInvalidParamsError, "password");
    await assertRejects(() => users.setPassword("ann", password), RpcInvalidParamsError);
  }
  assertEquals(await place.read(), before);
});

// -- the file itself --

test("the file gets mode 0600, whatever its mode was", async () => {
  await using place = await home(AIOHTTP_FILE);
  assertEquals((await stat(place.path)).mode & 0o777, 0o644);
  const users = passwd(place.path, WEAK);
  await users.createUser("cleo", "cleo");
  assertEquals((await stat(place.path)).mode & 0o777, 0o600);
  assertEquals(await readdir(place.folder), ["users.txt"]);
});

test("the path may be a URL, and the file a link", async () => {
  await using place = await home(AIOHTTP_FILE);
  const link = join(place.folder, "link.txt");
  await symlink(place.path, link);
  assertEquals(await passwd(pathToFileURL(link), WEAK).createUser("cleo", "cleo"), true);
  assertStringIncludes(await place.read(), "cleo:");
  assertEquals(await readFile(link, "utf8"), await place.read());
});

test("the functions of the backend return whether they changed something", async () => {
  await using place = await home();
  const users = passwd(place.path, WEAK);
  assertEquals(await users.createUser("ann", "one", { permissions: new Set(["x"]) }), true);
  assertEquals(await users.createUser("ann", "two"), false);
  assertEquals(await users.setPassword("ann", "three"), true);
  assertEquals(await users.setPassword("bob", "three"), false);
  assertEquals(await users.setPermissions("ann", { superuser: true }), true);
  assertEquals(await users.setPermissions("bob", {}), false);
  const { superuser, permissions } = (await place.table()).get("ann") as PasswdRecord;
  assertEquals([superuser, ...permissions], [true, "x"]); // what is left out stays
  assertEquals(await users.deleteUser("ann"), true);
  assertEquals(await users.deleteUser("ann"), false);
  assertEquals(await place.read(), "");
});

test("a change by another program is seen at the next look, even within one tick of the clock", async () => {
  await using place = await home(`ann:${HASH}:${SALT}:1000:x\n`);
  const file = new PasswdFile(place.path);
  const { atime, mtime } = await stat(place.path);
  assertEquals([...(await file.read()).get("ann")?.permissions ?? []], ["x"]);
  await writeFile(place.path, `ann:${HASH}:${SALT}:1000:y\n`);
  await utimes(place.path, atime, mtime);
  assertEquals([...(await file.read()).get("ann")?.permissions ?? []], ["y"]);
  await rm(place.path);
  assertEquals((await file.read()).get("ann"), undefined);
});

test("a file is read again only if it has changed", async () => {
  await using place = await home(`ann:${HASH}:${SALT}:1000:x\n`);
  let reads = 0;
  const file = new PasswdFile(place.path, () => reads++);
  // While it is young it may be changed without looking any different: it is read each time.
  for (let before = -1; before !== reads;) {
    before = reads;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await file.read();
  }
  const settled = reads;
  for (let looks = 0; looks < 3; looks++) await file.read();
  assertEquals(reads, settled);
  await writeFile(place.path, `ann:${HASH}:${SALT}:1000:y\n`);
  assertEquals([...(await file.read()).get("ann")?.permissions ?? []], ["y"]);
  assertEquals(reads, settled + 1);
});

test("two servers on one file see each other's users, and lose none", async () => {
  await using place = await home();
  const here = await served(place.path);
  const there = await served(place.path);
  await here.users.createUser("here", "here");
  await there.users.createUser("there", "there");
  await using one = await client(here.rpc);
  await using other = await client(there.rpc);
  assertEquals(await login(one, "there"), true);
  assertEquals(await login(other, "here"), true);

  await here.users.deleteUser("here");
  assertEquals(await other.call("whoami"), "here"); // not yet
  await there.users.reload();
  assertEquals(await refusal(other.call("whoami")), [-32601, undefined]);
});

// -- writers that race, and writers that die --

test("writers that race lose no user, and create each user once", async () => {
  const name = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uniqueArray(name), { maxLength: 4 }), async (lists) => {
      await using place = await home();
      const created = await Promise.all(lists.map((names) => {
        const accounts = accountsOf(place.path);
        return Promise.all(names.map((each) => accounts.create(each, each, {})));
      }));
      const wanted = new Set(lists.flat());
      const found = wanted.size === 0 ? [] : [...(await place.table()).lines.keys()];
      assertEquals(found.sort(), [...wanted].sort());
      assertEquals(created.flat().filter((each) => each).length, wanted.size);
      assertEquals((await readdir(place.folder)).filter((each) => each !== "users.txt"), []);
    }),
    { numRuns: 15 },
  );
});

/** Another process that adds users to a file, and tells each that it has added. */
async function writer(script: string, ...args: string[]) {
  const { command: [program, ...flags] } = await runtime(runtimeHere) as Runtime;
  const child = spawn(program, [...flags, script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const told: string[] = [];
  createInterface(child.stdout).on("line", (line) => told.push(line));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return { pid: child.pid as number, told, ended };
}

function writerScript() {
  return scriptFile(`
    import process from "node:process";
    import { PasswdFile } from ${
    JSON.stringify(import.meta.resolve("../../src/auth/passwd/file.ts"))
  };
    import { exitWithParent } from ${
    JSON.stringify(import.meta.resolve("../helpers/exit_with_parent.ts"))
  };
    exitWithParent();
    const [path, name, count] = process.argv.slice(2);
    const file = new PasswdFile(path, () => {}, 200);
    const salt = new Uint8Array([1, 2, 3, 4]);
    const hash = new Uint8Array(32);
    for (let index = 0; index < Number(count); index++) {
      const user = { name: name + index, rounds: 1, salt, hash, permissions: new Set(), superuser: false };
      await file.update((table) => (table.set(user), true));
      console.log(user.name);
    }
    process.exit();
  `);
}

test("processes that race lose no user", async () => {
  await using place = await home();
  await using script = await writerScript();
  const writers = await Promise.all(
    ["a", "b", "c"].map((name) => writer(script.path, place.path, name, "12")),
  );
  await Promise.all(writers.map(({ ended }) => ended));
  const told = writers.flatMap((each) => each.told);
  assertEquals(told.length, 36);
  assertEquals([...(await place.table()).lines.keys()].sort(), told.sort());
});

test("a process that is killed while it writes leaves a whole file, and others go on", async () => {
  await using place = await home();
  await using script = await writerScript();
  const all: string[] = [];
  for (const name of ["a", "b", "c", "d", "e"]) {
    const { pid, told, ended } = await writer(script.path, place.path, name, "Infinity");
    await until(() => told.length > 3);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    process.kill(pid, "SIGKILL");
    await ended;
    all.push(...told);
    const table = await place.table();
    for (const each of all) assert(table.get(each) !== undefined, `${each} is lost`);
  }
  const file = new PasswdFile(place.path, () => {}, 200);
  assertEquals(await file.update((table) => (table.set(recordOf("last")), true)), true);
  assert((await place.table()).get("last") !== undefined);
  const rest = (await readdir(place.folder)).filter((each) =>
    !/^users\.txt($|\.lock\.)/.test(each)
  );
  assertEquals(rest, []);
});

test("the lock of a dead writer is broken", async () => {
  await using place = await home("old");
  await mkdir(`${place.path}.lock`);
  await writeFile(join(`${place.path}.lock`, "token of the dead"), "half of the n");
  assertEquals(await lockedWrite(place.path, () => Promise.resolve("new"), 50), true);
  assertEquals(await place.read(), "new");
  assertEquals(await readdir(place.folder), ["users.txt"]);
});

test("a writer that was only slow starts again, and overwrites no change that came in between", async () => {
  await using place = await home("");
  const held = deferred();
  let readings = 0;
  const append = (text: string, wait?: Promise<void>) => async () => {
    readings++;
    const before = await place.read();
    await wait;
    return before + text;
  };
  const slow = lockedWrite(place.path, append("slow", held.promise), 50);
  await until(() => readings === 1);
  await lockedWrite(place.path, append("quick "), 50);
  assertEquals(await place.read(), "quick ");
  held.resolve();
  assertEquals(await slow, true);
  assertEquals(await place.read(), "quick slow");
  assertEquals(readings, 3);
  assertEquals(await readdir(place.folder), ["users.txt"]);
});

test("a writer that fails or has nothing to write leaves no lock", async () => {
  await using place = await home("old");
  await assertRejects(
    () => lockedWrite(place.path, () => Promise.reject(new RangeError()), 50),
    RangeError,
  );
  assertEquals(await lockedWrite(place.path, () => Promise.resolve(undefined), 50), false);
  assertEquals([await place.read(), await readdir(place.folder)], ["old", ["users.txt"]]);
  await assertRejects(() => passwd(join(place.folder, "no/users.txt"), WEAK).createUser("a", "a"));
});

// -- calls --

test("login answers whether the password is right, with params by name and by position", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using someone = await client(rpc);
  assertEquals(await someone.call("login", { username: "ann", password: "bob" }), false);
  assertEquals(await someone.call("login", { username: "nobody", password: "bob" }), false);
  assertEquals(await someone.call("login", { username: "a:b\nc".repeat(99), password: "" }), false);
  assertEquals(await someone.call("login", { username: "ann", password: "ann" }), true);
  assertEquals(await someone.call("whoami"), "ann");
  assertEquals(await someone.call("login", ["bob", "bob"]), true);
  assertEquals(await someone.call("whoami"), "bob");
  for (
    const params of [undefined, {}, [], { username: "ann" }, { username: 5, password: "ann" }, [
      "ann",
      null,
    ], ["ann", "ann", "ann"]]
  ) assertEquals((await refusal(someone.call("login", params)))[0], -32602);
});

test("request.user is a PasswdUser or null, and its type is narrowed by a guard", async () => {
  await using place = await home();
  const rpc = new JsonRpc().use(passwd(place.path, WEAK))
    .method("open", (_: unknown, { user }) => {
      const known: PasswdUser | null = user;
      // @ts-expect-error -- it may be nobody
      return known.name;
    })
    .method("guarded", { use: [loginRequired] }, (_: unknown, { user }) => {
      const rights: [string, ReadonlySet<string>, boolean] = [
        user.name,
        user.permissions,
        user.superuser,
      ];
      return rights;
    });
  assertEquals(rpc.connections.size, 0);
});

test("each connection sees the methods that it may call, and no others", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await users.createUser("clerk", "clerk", { permissions: ["create_user", "delete_user"] });
  await using someone = await client(rpc);
  const all = ["login", "logout", "create_user", "delete_user", "set_password"];
  const seen = async () => (await someone.getMethods()).filter((name) => all.includes(name));
  assertEquals(await seen(), ["login"]);
  await login(someone, "ann");
  assertEquals(await seen(), ["login", "logout", "set_password"]);
  await login(someone, "clerk");
  assertEquals(await seen(), all);
  await login(someone, "root");
  assertEquals(await seen(), all);
  await someone.call("logout");
  assertEquals(await seen(), ["login"]);
});

test("methods that a caller may not call are missing, alone and in a batch, and all of them over POST", async () => {
  await using place = await home();
  const { rpc, logger } = await served(place.path);
  const before = await place.read();
  const calls = [
    ["logout", {}],
    ["create_user", { username: "eve", password: "eve" }],
    ["delete_user", { username: "ann" }],
    ["set_password", { username: "ann", password: "eve", old_password: "ann" }],
  ] as const;
  await using someone = await client(rpc);
  for (const [method, params] of calls) {
    assertEquals(await refusal(someone.call(method, params)), [-32601, undefined]);
  }
  const wire = bareClient(rpc);
  const batch = calls.map(([method, params], id) => ({ jsonrpc: "2.0", method, params, id }));
  wire.send([...batch, ...batch.map(({ id: _, ...notification }) => notification)]);
  const answers = await wire.next() as unknown as { error: { code: number } }[];
  assertEquals(answers.map(({ error }) => error.code), [-32601, -32601, -32601, -32601]);
  wire.close();

  const login = { username: "root", password: "root" };
  for (const [method, params] of [...calls, ["login", login] as const]) {
    const response = await rpc.fetch(
      new Request("http://localhost/", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", method, params, id: 1 }),
      }),
    );
    assertEquals((await response.json()).error.code, -32601);
  }
  assertEquals(await place.read(), before);
  // What was refused is a matter for the debug level.
  assertEquals(logger.lines.filter((line) => !line.startsWith("debug: ")), []);
});

test("create_user, delete_user and set_password need their permission, and a superuser for superusers", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  for (const permission of ["create_user", "delete_user", "set_password"]) {
    await users.createUser(permission, permission, { permissions: [permission] });
  }
  await users.createUser("boss", "boss", { superuser: true });
  const targets = { ann: "ann", root: "root" };
  const calls = {
    create: ["create_user", { username: "new", password: "new" }],
    delete: ["delete_user", { username: targets.ann }],
    deleteRoot: ["delete_user", { username: targets.root }],
    reset: ["set_password", { username: targets.ann, password: "new" }],
    resetRoot: ["set_password", { username: targets.root, password: "new" }],
  } as const;
  type What = keyof typeof calls;
  const matrix: Record<string, Partial<Record<What, true>>> = {
    bob: {},
    create_user: { create: true },
    delete_user: { delete: true },
    set_password: { reset: true },
    boss: { create: true, delete: true, deleteRoot: true, reset: true, resetRoot: true },
  };
  const text = await place.read();
  for (const [name, allowed] of Object.entries(matrix)) {
    for (const what of Object.keys(calls) as What[]) {
      await using someone = await client(rpc);
      await login(someone, name);
      const [method, params] = calls[what];
      if (allowed[what]) {
        assertEquals(await someone.call(method, params), true, `${name}: ${what}`);
        await writeFile(place.path, text);
        await users.reload();
      } else {
        const [code] = await refusal(someone.call(method, params));
        // Hidden where the method as a whole is not theirs.
        const hidden = method !== "set_password" && name !== method;
        assertEquals(code, hidden ? -32601 : -32003, `${name}: ${what}`);
        assertEquals(await place.read(), text);
      }
    }
  }
});

test("a caller without the permission cannot find out which users exist", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using someone = await client(rpc);
  await login(someone, "ann");
  for (const username of ["bob", "root", "nobody"]) {
    const error = await refusal(someone.call("set_password", { username, password: "x" }));
    assertEquals(error, [-32003, undefined]);
  }
});

test("create_user and delete_user answer false if there is nothing to do", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using root = await client(rpc);
  await login(root, "root");
  assertEquals(await root.call("create_user", ["new", "pass"]), true);
  assertEquals(await root.call("create_user", { username: "new", password: "other" }), false);
  const { permissions, superuser } = (await place.table()).get("new") as PasswdRecord;
  assertEquals([permissions.size, superuser], [0, false]);
  await using someone = await client(rpc);
  assertEquals([await login(someone, "new", "other"), await login(someone, "new", "pass")], [
    false,
    true,
  ]);
  assertEquals(await root.call("delete_user", ["new"]), true);
  assertEquals(await root.call("delete_user", { username: "new" }), false);
  assertEquals(await root.call("set_password", { username: "new", password: "x" }), false);
  const line = `new\nroot:${HASH}:${SALT}:1:`;
  const [code] = await refusal(root.call("create_user", { username: line, password: "x" }));
  assertEquals(code, -32602);
});

test("set_password for the own account needs the old password, of superusers too", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  for (const name of ["ann", "root"]) {
    await using someone = await client(rpc);
    await login(someone, name);
    for (
      const params of [{ password: "new" }, { username: name, password: "new" }, [name, "new"]]
    ) {
      assertEquals((await refusal(someone.call("set_password", params)))[0], -32602);
    }
    for (const old_password of ["", "wrong"]) {
      assertEquals(await someone.call("set_password", { password: "new", old_password }), false);
    }
    assertEquals(await someone.call("set_password", { password: "new", old_password: name }), true);
    assertEquals(await someone.call("set_password", [name, "newer", "new"]), true);
    assertEquals(await someone.call("whoami"), name);
    await using again = await client(rpc);
    assertEquals([await login(again, name, "new"), await login(again, name, "newer")], [
      false,
      true,
    ]);
  }
});

test("set_password checks the old password of another user if it is given", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using root = await client(rpc);
  await login(root, "root");
  const params = { username: "ann", password: "new" };
  assertEquals(await root.call("set_password", { ...params, old_password: "wrong" }), false);
  assertEquals(await root.call("set_password", { ...params, old_password: "ann" }), true);
  assertEquals(await root.call("set_password", { ...params, old_password: "" }), true);
});

test("a failed login keeps the user of the connection", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using someone = await client(rpc);
  await login(someone, "bob");
  await someone.subscribe("alarms", () => {});
  assertEquals(await login(someone, "root", "wrong"), false);
  assertEquals(await login(someone, "nobody"), false);
  assertEquals(await someone.call("whoami"), "bob");
  assertEquals(await someone.getSubscriptions(), ["alarms"]);
});

test("while the file cannot be read, nobody can log in and nobody is logged out", async () => {
  await using place = await home();
  const { rpc, logger } = await served(place.path);
  await using inside = await client(rpc);
  await login(inside, "ann");
  await writeFile(place.path, `${await place.read()}half of a l`);
  await using someone = await client(rpc);
  for (const name of ["ann", "nobody"]) {
    assertEquals((await refusal(login(someone, name)))[0], -32603);
  }
  assertStringIncludes(logger.text, "users.txt, line 4: expected 5 to 7 fields");
  assertEquals(await inside.call("whoami"), "ann");
});

// -- changes on open connections --

test("logout keeps the connection open, and ends subscriptions that need a user", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using someone = await client(rpc);
  await login(someone, "bob");
  const heard: unknown[] = [];
  await someone.subscribe("alarms", (text) => heard.push(text));
  await someone.subscribe("news", (text) => heard.push(text));
  assertEquals(await someone.call("logout"), true);
  assertEquals([rpc.publish("alarms", "fire").deliveries, rpc.publish("news", "rain").deliveries], [
    0,
    1,
  ]);
  assertEquals(await someone.getSubscriptions(), ["news"]);
  assertEquals(heard, ["rain"]);
  assertEquals(await refusal(someone.call("restart")), [-32601, undefined]);
});

test("changed permissions hold at once on all connections of the user, and on no others", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await using one = await client(rpc);
  await using other = await client(rpc);
  await using root = await client(rpc);
  for (const each of [one, other]) await login(each, "bob");
  await login(root, "root");
  for (const each of [one, other, root]) await each.subscribe("alarms", () => {});
  await users.setPermissions("bob", { permissions: ["read"] });
  assertEquals(rpc.publish("alarms", "fire").deliveries, 1);
  for (const each of [one, other]) {
    assertEquals(await each.getSubscriptions(), []);
    assertEquals(await refusal(each.call("restart")), [-32601, undefined]);
    assertEquals(await each.call("whoami"), "bob");
  }
  await users.setPermissions("bob", { superuser: true });
  assertEquals(await one.call("restart"), "restarted");
  assertEquals(await root.getSubscriptions(), ["alarms"]);
});

test("a deleted user is logged out at once, on all connections", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await using one = await client(rpc);
  await using other = await client(rpc);
  await using ann = await client(rpc);
  for (const each of [one, other]) await login(each, "bob");
  await login(ann, "ann");
  for (const each of [one, other]) await each.subscribe("alarms", () => {});
  await users.deleteUser("bob");
  assertEquals(rpc.publish("alarms", "fire").deliveries, 0);
  for (const each of [one, other]) {
    assertEquals(await refusal(each.call("whoami")), [-32601, undefined]);
  }
  assertEquals(await ann.call("whoami"), "ann");
  assertEquals(await login(one, "bob"), false);
  // One of that name who comes later is another.
  await users.createUser("bob", "bob");
  assertEquals(await refusal(other.call("whoami")), [-32601, undefined]);
});

test("a new password logs out all connections of the user except the one that set it", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await using one = await client(rpc);
  await using other = await client(rpc);
  await using root = await client(rpc);
  await login(root, "root");
  for (const each of [one, other]) await login(each, "bob");
  await one.subscribe("alarms", () => {});
  assertEquals(await one.call("set_password", { password: "new", old_password: "bob" }), true);
  assertEquals([await one.call("whoami"), await one.getSubscriptions()], ["bob", ["alarms"]]);
  assertEquals(await refusal(other.call("whoami")), [-32601, undefined]);

  assertEquals(await root.call("set_password", { username: "bob", password: "newer" }), true);
  assertEquals(await refusal(one.call("whoami")), [-32601, undefined]);
  assertEquals(await login(one, "bob", "newer"), true);
  await users.setPassword("bob", "newest");
  assertEquals(await refusal(one.call("whoami")), [-32601, undefined]);
  assertEquals(await root.call("whoami"), "root");
});

test("passwd does not touch a connection whose user another backend has set", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await using someone = await client(rpc);
  await login(someone, "bob");
  const [connection] = rpc.connections;
  const foreign = { name: "eve", permissions: new Set(["set_password"]), superuser: false };
  connection?.login(foreign);
  await users.deleteUser("bob");
  assertEquals(await someone.call("whoami"), "eve");
  assertEquals(connection?.user, foreign);
  // It is nobody of this file: it has no password of its own here, and no old one helps.
  assertEquals((await refusal(someone.call("set_password", { password: "x" })))[0], -32602);
  assertEquals(await someone.call("set_password", { username: "ann", password: "x" }), true);
});

test("a user whose object the program has changed is logged out and loses rights all the same", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await using someone = await client(rpc);
  await login(someone, "bob");
  const [connection] = rpc.connections;
  const enrich = () =>
    connection?.login({ ...connection.user as PasswdUser, theme: "dark" } as never);
  enrich();
  await someone.subscribe("alarms", () => {});
  await users.setPermissions("bob", { permissions: [] });
  assertEquals([await someone.call("whoami"), await someone.getSubscriptions()], ["bob", []]);
  enrich();
  assertEquals(
    await someone.call("set_password", { password: "new", old_password: "bob" }),
    true,
  );
  enrich();
  await users.deleteUser("bob");
  assertEquals(connection?.user, null);
});

test("names that look alike are one name, and new names have nothing that nobody sees", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  await using someone = await client(rpc);
  assertEquals(await users.createUser("Andr\u00e9 \ufb01sh", "secret"), true);
  assertEquals(await users.createUser("Andre\u0301 fish", "other"), false);
  assertEquals(await login(someone, "Andre\u0301 fish", "secret"), true);
  assertEquals(await someone.call("whoami"), "Andr\u00e9 fish");
  assertEquals(await users.setPassword("Andre\u0301 \ufb01sh", "new"), true);
  assertEquals(await users.deleteUser("Andre\u0301 fish"), true);
  const before = await place.read();
  for (
    const [name, why] of [
      ...["root\u200b", "ro\u200dot", "\u202eroot", "root\u00ad", "ro\ufe0fot", "\u2060root"]
        .map((each) => [each, "invisible"]),
      ...["root ", " root", "root\u00a0", "root\u3000"].map((each) => [each, "space"]),
      ...["ro\uff1aot"].map((each) => [each, "contains `:`"]),
      ...["\uff03root"].map((each) => [each, "starts with `#`"]),
    ] as [string, string][]
  ) await assertRejects(() => users.createUser(name, "x"), RpcInvalidParamsError, why);
  assertEquals(await place.read(), before);
});

test("a file with names in another form is read, and two forms of one name are refused", () => {
  const rest = `${HASH}:${SALT}:100000:`;
  const table = PasswdTable.parse(`Andre\u0301:${rest}\nroot\u200b:${rest}\n`);
  assertEquals([...table.lines.keys()], ["Andr\u00e9", "root\u200b"]);
  assertThrows(
    () => PasswdTable.parse(`Andre\u0301:${rest}\nAndr\u00e9:${rest}\n`),
    SyntaxError,
    "two lines have this name",
  );
});

test("a connection that has ended is forgotten", async () => {
  await using place = await home();
  const { rpc, users } = await served(place.path);
  const [one, other] = [await client(rpc), await client(rpc)];
  for (const each of [one, other]) await login(each, "ann");
  const ended = [...rpc.connections];
  for (const each of [one, other]) await each.close();
  await until(() => rpc.connections.size === 0);
  ended[1]?.login(ended[1].user as PasswdUser); // by a handler that still runs
  await users.deleteUser("ann");
  // Nobody has looked at them any more.
  assertEquals(ended.map(({ user }) => user?.name), ["ann", "ann"]);
});

test("users are logged out even if another plugin throws when they are", async () => {
  await using place = await home();
  const { rpc, users, logger } = await served(place.path);
  const faulty = { on: false };
  rpc.use({
    name: "test",
    onUserChange() {
      if (faulty.on) throw new RangeError("broken plugin");
    },
  });
  await using one = await client(rpc);
  await using other = await client(rpc);
  for (const each of [one, other]) await login(each, "ann");
  faulty.on = true;
  await users.deleteUser("ann");
  for (const each of [one, other]) {
    assertEquals(await refusal(each.call("whoami")), [-32601, undefined]);
  }
  assertStringIncludes(logger.text, "RangeError: broken plugin");
});

/** A server on which each hash waits until the test lets it go on. */
async function gated(place: { path: string }) {
  const users = accountsOf(place.path);
  for (const name of ["ann", "bob"]) await users.create(name, name, {});
  await users.create("clerk", "clerk", { permissions: ["create_user", "set_password"] });
  const doors = { closed: false, held: deferred(), hashing: 0 };
  const derive: Derive = async (...args) => {
    doors.hashing++;
    if (doors.closed) await doors.held.promise;
    return await quick(...args);
  };
  const server = mounted(place.path, derive);
  /** Starts something and waits until it hashes; answers with what goes on. */
  async function during(call: () => Promise<unknown>): Promise<() => Promise<unknown>> {
    doors.closed = true;
    doors.hashing = 0;
    const result = call();
    result.catch(() => {});
    await until(() => doors.hashing > 0);
    return () => {
      doors.held.resolve();
      return result;
    };
  }
  return { ...server, users, during };
}

test("a user who is deleted while the password is checked is not logged in", async () => {
  await using place = await home();
  const { rpc, accounts, during } = await gated(place);
  await using someone = await client(rpc);
  const goOn = await during(() => login(someone, "ann"));
  await accounts.delete("ann");
  assertEquals(await goOn(), false);
  assertEquals(await someone.call("whoami"), null);
});

test("a password that is changed while it is checked does not log in", async () => {
  await using place = await home();
  const { rpc, accounts, users, during } = await gated(place);
  await using someone = await client(rpc);
  const goOn = await during(() => login(someone, "ann"));
  await users.setPassword("ann", "new");
  await accounts.reload();
  assertEquals(await goOn(), false);
  assertEquals(await someone.call("whoami"), null);
});

test("a login gets the permissions that hold when it ends", async () => {
  await using place = await home();
  const { rpc, accounts, during } = await gated(place);
  await using someone = await client(rpc);
  const goOn = await during(() => login(someone, "clerk"));
  await accounts.setRights("clerk", { permissions: [] });
  assertEquals(await goOn(), true);
  assertEquals((await someone.getMethods()).includes("create_user"), false);
});

test("a login that was cancelled does not log in later", async () => {
  await using place = await home();
  const { rpc, during } = await gated(place);
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using someone = await connect(near);
  const controller = new AbortController();
  const { signal } = controller;
  const params = { username: "ann", password: "ann" };
  const goOn = await during(() => someone.call("login", params, { signal }));
  controller.abort();
  await someone.call("whoami"); // the cancellation has arrived
  await goOn().catch(() => {});
  await quietMoment();
  assertEquals(await someone.call("whoami"), null);
});

test("a permission that is lost while the password is hashed no longer counts", async () => {
  await using place = await home();
  const { rpc, accounts, during } = await gated(place);
  await using clerk = await client(rpc);
  await login(clerk, "clerk");
  const before = await place.read();
  const create = await during(() => clerk.call("create_user", ["new", "new"]));
  const reset = clerk.call("set_password", { username: "ann", password: "new" });
  await quietMoment();
  await accounts.setRights("clerk", { permissions: [] });
  assertEquals(await refusal(create()), [-32003, undefined]);
  assertEquals(await refusal(reset), [-32003, undefined]);
  assertEquals((await place.read()).split("\n").slice(0, 2), before.split("\n").slice(0, 2));
  assertEquals((await place.table()).get("new"), undefined);
});

test("the own password is not set if the user has logged out, or it has changed, in the meantime", async () => {
  await using place = await home();
  const { rpc, users, during } = await gated(place);
  await using someone = await client(rpc);
  const own = { password: "mine", old_password: "ann" };
  await login(someone, "ann");
  const first = await during(() => someone.call("set_password", own));
  await someone.call("logout");
  assertEquals(await first(), false);
  assertEquals(await someone.call("whoami"), null);

  const second = await gated(place);
  await using other = await client(second.rpc);
  await login(other, "ann");
  const goOn = await second.during(() => other.call("set_password", own));
  await users.setPassword("ann", "set by somebody else");
  assertEquals(await goOn(), false);
  assertEquals(await other.call("whoami"), null);
});

test("a user who logs out while the own password is written stays logged out", async () => {
  await using place = await home();
  const { rpc, accounts, hooks } = mounted(place.path, quick);
  await accounts.create("ann", "ann", {});
  await using someone = await client(rpc);
  await login(someone, "ann");
  hooks.written = () => [...rpc.connections].forEach((connection) => connection.logout());
  assertEquals(await someone.call("set_password", { password: "new", old_password: "ann" }), true);
  assertEquals(await someone.call("whoami"), null);
});

// -- guessing --

test("an unknown user costs the same hash as a wrong password, and answers the same", async () => {
  await using place = await home(AIOHTTP_FILE);
  await accountsOf(place.path).create("cheap", "cheap", {});
  let rounds = 0;
  const { rpc } = mounted(place.path, (...args) => {
    rounds += args[2];
    return quick(...args);
  });
  await using someone = await client(rpc);
  for (const name of ["ann", "cheap", "nobody", "", "x".repeat(300)]) {
    rounds = 0;
    assertEquals(await login(someone, name, "wrong"), false);
    assertEquals(rounds, 100_000); // that of the dearest
  }
});

test("after ten wrong passwords an address has to wait, and another address does not", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using mallory = await client(rpc, "192.0.2.66");
  for (const name of ["ann", "nobody"]) {
    for (let count = 0; count < 10; count++) {
      assertEquals(await login(mallory, name, "wrong"), false);
    }
    const error = await assertRejects(() => login(mallory, name)) as RpcError;
    const { retryAfterMs } = error.data as { retryAfterMs: number };
    assertEquals([error.code, error.message], [-32005, "Too many wrong passwords"]);
    assert(Number.isInteger(retryAfterMs) && retryAfterMs > 0 && retryAfterMs <= 1000);
  }
  // Another connection is no way out.
  await using again = await client(rpc, "192.0.2.66");
  assertEquals((await refusal(login(again, "ann")))[0], -32005);
  assertEquals(await login(again, "bob"), true);
  await using ann = await client(rpc, "192.0.2.1");
  assertEquals(await login(ann, "ann"), true);
});

test("set_password is throttled as login is", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  await using stolen = await client(rpc, "192.0.2.66");
  await login(stolen, "ann");
  const params = { password: "new", old_password: "wrong" };
  for (let count = 0; count < 10; count++) {
    assertEquals(await stolen.call("set_password", params), false);
  }
  const right = { ...params, old_password: "ann" };
  assertEquals((await refusal(stolen.call("set_password", right)))[0], -32005);
});

test("guesses that come at the same time are throttled as those that come one by one", async () => {
  await using place = await home();
  const { rpc } = await served(place.path, { maxHashes: 2, firstWaitMs: 60_000 });
  const wire = bareClient(rpc);
  const guess = { username: "ann", password: "wrong" };
  wire.send(
    Array.from({ length: 60 }, (_, id) => ({ jsonrpc: "2.0", method: "login", params: guess, id })),
  );
  const answers = await wire.next() as unknown as { result?: boolean; error?: { code: number } }[];
  const guesses = answers.filter(({ result }) => result === false).length;
  // One more may have begun when the tenth had failed.
  assert(guesses === 10 || guesses === 11, `${guesses} guesses`);
  assertEquals(answers.filter(({ error }) => error?.code === -32005).length, 60 - guesses);
  wire.close();
});

test("a wrong password is counted before the next one that waits is hashed", async () => {
  await using place = await home();
  const limits = { concurrency: 1, maxWaiting: 100 };
  const { rpc, accounts } = mounted(place.path, quick, limits);
  await accounts.create("ann", "ann", {});
  await using someone = await client(rpc);
  const guesses = Array.from({ length: 30 }, () => login(someone, "ann", "wrong"));
  const answers = await Promise.allSettled(guesses);
  assertEquals(answers.filter(({ status }) => status === "fulfilled").length, 10);
});

test("an attempt that is refused takes no place among those that wait", async () => {
  await using place = await home();
  const held = deferred();
  let closed = false;
  let hashing = 0;
  const { rpc, accounts } = mounted(place.path, async (...args) => {
    hashing++;
    if (closed) await held.promise;
    return await quick(...args);
  }, { concurrency: 1, maxWaiting: 1 });
  await accounts.create("ann", "ann", {});
  await using mallory = await client(rpc, "192.0.2.66");
  for (let count = 0; count < 10; count++) await login(mallory, "ann", "wrong");
  [closed, hashing] = [true, 0];
  await using ann = await client(rpc, "192.0.2.1");
  const first = login(ann, "ann");
  await until(() => hashing === 1);
  assertEquals((await refusal(login(mallory, "ann")))[0], -32005);
  const second = login(ann, "ann");
  await accounts.reload(); // now the second waits for the first
  assertEquals((await refusal(login(mallory, "ann")))[0], -32005);
  held.resolve();
  assertEquals([await first, await second], [true, true]);
});

test("many right passwords may come at the same time", async () => {
  await using place = await home();
  const { rpc } = await served(place.path);
  const clients = await Promise.all(Array.from({ length: 50 }, () => client(rpc, "192.0.2.1")));
  const answers = await Promise.all(clients.map((each) => login(each, "ann")));
  assertEquals(answers.every((answer) => answer === true), true);
  await Promise.all(clients.map((each) => each.close()));
});

test("maxHashes and maxWaiting bound the passwords that are hashed and that wait; more get -32009", async () => {
  await using place = await home();
  const { rpc } = await served(place.path, { rounds: 200_000, maxHashes: 1, maxWaiting: 2 });
  const clients = await Promise.all(Array.from({ length: 6 }, () => client(rpc)));
  const outcomes = await Promise.allSettled(clients.map((each) => login(each, "ann")));
  const busy = outcomes.filter((outcome) =>
    outcome.status === "rejected" && (outcome.reason as RpcError).code === -32009
  );
  const done = outcomes.filter((outcome) =>
    outcome.status === "fulfilled" && outcome.value === true
  );
  assertEquals([busy.length > 0, done.length >= 3, busy.length + done.length], [true, true, 6]);
  // What was refused for that is no wrong password, and works later.
  assertEquals(await login(clients[5] as JsonRpcClient, "ann"), true);
  await Promise.all(clients.map((each) => each.close()));
});

test("a server answers other calls while it hashes", async () => {
  await using place = await home();
  const { rpc } = await served(place.path, { rounds: 600_000 });
  await using someone = await client(rpc);
  await using other = await client(rpc);
  let hashing = true;
  const logins = Promise.all([login(someone, "ann", "wrong"), login(someone, "bob", "wrong")])
    .finally(() => hashing = false);
  await other.getMethods();
  await other.getMethods();
  assertEquals(hashing, true);
  await logins;
});

test("addressOf distinguishes peers behind a proxy", async () => {
  await using place = await home();
  const { rpc } = await served(place.path, {
    addressOf: ({ headers }) => headers.get("x-real-ip") ?? undefined,
  });
  async function from(address: string) {
    const [near, far] = linkedSockets();
    rpc.attach(far, { headers: new Headers({ "x-real-ip": address }), remoteAddress: "10.0.0.1" });
    return await connect(near);
  }
  await using mallory = await from("2001:db8::66");
  for (let count = 0; count < 10; count++) await login(mallory, "ann", "wrong");
  await using same = await from("2001:db8::67"); // in the same /64
  await using other = await from("2001:db8:1::1");
  assertEquals((await refusal(login(same, "ann")))[0], -32005);
  assertEquals(await login(other, "ann"), true);
});

test("the log has the name and address of a failed login, and never the password", async () => {
  await using place = await home();
  const { rpc, logger, users } = await served(place.path);
  await using someone = await client(rpc, "192.0.2.66");
  await login(someone, "ann\nroot", "pa55word");
  await login(someone, "ann", "pa55word");
  assertEquals(logger.lines, [
    String.raw`info: Login failed: wrong password or user "ann\nroot", from 192.0.2.66`,
    'info: Login failed: wrong password or user "ann", from 192.0.2.66',
  ]);
  await login(someone, "x".repeat(100_000), "pa55word");
  assert((logger.lines[2] as string).length < 400);
  await users.createUser("cleo", "pa55word");
  await login(someone, "cleo", "pa55word");
  await someone.call("set_password", { password: "pa55word2", old_password: "pa55word" });
  assertEquals(logger.text.includes("pa55"), false);
  assertEquals((await place.read()).includes("pa55"), false);
});

// -- options --

test("passwd() checks its options when it is called, and never writes to them", () => {
  for (
    const options of [
      { rounds: 999 },
      { rounds: 2 ** 31 },
      { rounds: 1000.5 },
      { rounds: "600000" as never },
      { maxHashes: 0 },
      { maxWaiting: -1 },
      { attempts: 0 },
      { firstWaitMs: NaN },
      { maxWaitMs: Infinity },
    ]
  ) {
    const [name] = Object.keys(options);
    assertThrows(() => passwd("users.txt", options), RangeError, `Expected \`${name}\``);
  }
  assertThrows(() => passwd(""), TypeError, "path");
  passwd("users.txt", Object.freeze({ attempts: 3 }));
});
