import {
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { RpcServerError } from "@x/jsonrpc";
import { equalBytes, PasswordHasher, samePassword } from "../../src/auth/passwd/hash.ts";
import type { Derive, PasswordHash } from "../../src/auth/passwd/hash.ts";
import { Throttle } from "../../src/auth/passwd/throttle.ts";
import { clientAddress, hostOf, networkOf } from "../../src/util/network.ts";
import { deferred } from "../helpers/deferred.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const hex = (text: string) =>
  Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const wide = { concurrency: 100, maxWaiting: 0 };

/** In place of PBKDF2: takes no time, and counts the rounds. */
function counted() {
  const counter = { rounds: 0, calls: 0 };
  const derive: Derive = (password, salt, rounds) => {
    counter.rounds += rounds;
    counter.calls++;
    const mixed = bytes(`${password} ${salt.join()} ${rounds}`);
    return Promise.resolve(new Uint8Array(32).map((_, index) => mixed[index] ?? 0));
  };
  return { counter, derive };
}

// -- hashing --

test("hash() agrees with the test vectors of PBKDF2-HMAC-SHA256 (RFC 7914, section 11)", async () => {
  for (
    const [password, salt, rounds, expected] of [
      ["passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"],
      [
        "Password",
        "NaCl",
        80_000,
        "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56",
      ],
    ] as const
  ) {
    const kept = await new PasswordHasher({ ...wide, rounds }).hash(password, bytes(salt));
    assertEquals(kept, { rounds, salt: bytes(salt), hash: hex(expected) });
  }
});

test("hash() takes a random salt of 16 bytes if none is given", async () => {
  const hasher = new PasswordHasher({ ...wide, rounds: 1 });
  const [one, other] = [await hasher.hash("same"), await hasher.hash("same")];
  assertEquals([one.salt.length, other.salt.length], [16, 16]);
  assertEquals(equalBytes(one.salt, other.salt), false);
  assertEquals(equalBytes(one.hash, other.hash), false);
});

test("verify() accepts the right password, any text, and no other", async () => {
  const hasher = new PasswordHasher({ ...wide, rounds: 10 });
  const text = fc.string({ unit: "grapheme" });
  await fc.assert(
    fc.asyncProperty(text, text, async (password, other) => {
      const kept = await hasher.hash(password);
      assertEquals(await hasher.verify(password, kept, 0, () => {}), true);
      assertEquals(await hasher.verify(other, kept, 0, () => {}), other === password);
    }),
    { numRuns: 50, examples: [["", "x"], ["x", ""], ["a\0b", "a"]] },
  );
});

test("verify() refuses every password if there is no such user", async () => {
  // Derives the very bytes that stand in for the hash of nobody.
  const derive = () => Promise.resolve(new Uint8Array(32));
  const hasher = new PasswordHasher({ ...wide, rounds: 10, derive });
  assertEquals(await hasher.verify("any", undefined, 0, () => {}), false);
});

test("verify() does the same work for an unknown user, a wrong password and an old hash", async () => {
  const { counter, derive } = counted();
  const hasher = new PasswordHasher({ ...wide, rounds: 600, derive });
  const kept = await hasher.hash("right");
  const old = await new PasswordHasher({ ...wide, rounds: 100, derive }).hash("right");
  const dear = await new PasswordHasher({ ...wide, rounds: 900, derive }).hash("right");
  async function workFor(stored: PasswordHash | undefined, mostRounds: number): Promise<number> {
    const before = counter.rounds;
    assertEquals(await hasher.verify("wrong", stored, mostRounds, () => {}), false);
    return counter.rounds - before;
  }
  for (const stored of [undefined, kept, old]) assertEquals(await workFor(stored, 600), 600);
  for (const stored of [undefined, kept, old, dear]) assertEquals(await workFor(stored, 900), 900);
});

test("verify() hashes nothing if the attempt is refused just before", async () => {
  const { counter, derive } = counted();
  const hasher = new PasswordHasher({ ...wide, rounds: 600, derive });
  const refuse = () => {
    throw new RangeError("not now");
  };
  await assertRejects(() => hasher.verify("any", undefined, 0, refuse), RangeError);
  assertEquals(counter.calls, 0);
});

test("a hash is outdated if it has fewer rounds than new ones", () => {
  const hasher = new PasswordHasher({ ...wide, rounds: 600 });
  const kept = (rounds: number) => ({ rounds, salt: bytes("salt"), hash: bytes("hash") });
  assertEquals([599, 600, 601].map((rounds) => hasher.isOutdated(kept(rounds))), [
    true,
    false,
    false,
  ]);
});

test("hashing leaves the event loop free", async () => {
  const hasher = new PasswordHasher({ ...wide, rounds: 2_000_000 });
  let hashing = true;
  const done = hasher.hash("password").finally(() => hashing = false);
  // Were it done on this thread, no timer could come before its end.
  await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(hashing, true);
  await done;
});

test("equalBytes() compares all bytes and the lengths", () => {
  for (
    const [a, b, equal] of [
      ["", "", true],
      ["00ff", "00ff", true],
      ["00ff", "00fe", false],
      ["01ff", "00ff", false],
      ["00", "", false],
      ["", "00", false],
      ["ff00", "ff", false],
      ["ff", "ff00", false],
    ] as const
  ) assertEquals(equalBytes(hex(a), hex(b)), equal, `${a} and ${b}`);
  fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
    assertEquals(equalBytes(a, b), a.join() === b.join());
    assertEquals(equalBytes(a, a.slice()), true);
  }));
});

test("samePassword() is true for one password at two costs, and false for two passwords", () => {
  const kept = { rounds: 1, salt: bytes("salt"), hash: bytes("one") };
  assertEquals(samePassword(kept, { ...kept }), true);
  assertEquals(samePassword(kept, { ...kept, rounds: 2, hash: bytes("two") }), true);
  assertEquals(samePassword(kept, { ...kept, hash: bytes("two") }), false);
  for (const rounds of [1, 2]) {
    assertEquals(samePassword(kept, { rounds, salt: bytes("pepper"), hash: bytes("two") }), false);
  }
});

// -- few at once --

test("a hasher whose queue is full rejects with -32009", async () => {
  const lock = deferred();
  const derive: Derive = () => lock.promise.then(() => new Uint8Array(32));
  const hasher = new PasswordHasher({ concurrency: 1, maxWaiting: 1, rounds: 1, derive });
  const running = [hasher.hash("a"), hasher.hash("b")];
  const busy = await assertRejects(() => hasher.hash("c"), RpcServerError);
  assertEquals((busy as RpcServerError).code, -32009);
  assertEquals((busy as RpcServerError).message, "Server busy: 1 passwords wait to be checked");
  lock.resolve();
  await Promise.all(running);
});

// -- guessing --

/** A throttle and its clock. */
function slowly(options: Partial<ConstructorParameters<typeof Throttle>[0]> = {}) {
  const clock = { now: 0 };
  const bounds = { attempts: 3, firstWaitMs: 1000, maxWaitMs: 60_000, ...options };
  const throttle = new Throttle(bounds, () => clock.now);
  function waitMs(account: string, address: string): number {
    try {
      throttle.check(account, address);
      return 0;
    } catch (error) {
      assertInstanceOf(error, RpcServerError);
      const { code, data } = error as RpcServerError;
      assertEquals(code, -32005);
      return (data as { retryAfterMs: number }).retryAfterMs;
    }
  }
  return { clock, throttle, waitMs };
}

test("a throttle doubles the wait after each wrong password, up to a bound", () => {
  const { clock, throttle, waitMs } = slowly();
  const waits: number[] = [];
  for (let count = 0; count < 12; count++) {
    const wait = waitMs("ann", "1.2.3.4");
    waits.push(wait);
    clock.now += wait;
    assertEquals(waitMs("ann", "1.2.3.4"), 0);
    throttle.failed("ann", "1.2.3.4");
  }
  assertEquals(waits.slice(0, 8), [0, 0, 0, 1000, 2000, 4000, 8000, 16_000]);
  assertEquals(Math.max(...waits), 60_000);
});

test("a throttle forgets, so that rare mistakes never cause a wait", () => {
  const { clock, throttle, waitMs } = slowly();
  for (let count = 0; count < 100; count++) {
    for (let mistake = 0; mistake < 2; mistake++) throttle.failed("ann", "1.2.3.4");
    assertEquals(waitMs("ann", "1.2.3.4"), 0);
    clock.now += 2 * 60_000;
  }
});

test("a throttle delays one account at one address, and neither it elsewhere nor others there", () => {
  const { throttle, waitMs } = slowly();
  for (let count = 0; count < 3; count++) throttle.failed("ann", "1.2.3.4");
  assertEquals(waitMs("ann", "1.2.3.4"), 1000);
  assertEquals([waitMs("ann", "5.6.7.8"), waitMs("bob", "1.2.3.4")], [0, 0]);
});

test("a throttle delays an address that tries many accounts", () => {
  const { throttle, waitMs } = slowly();
  for (let count = 0; count < 15; count++) throttle.failed(`user ${count}`, "1.2.3.4");
  assertEquals(waitMs("ann", "1.2.3.4"), 1000);
  assertEquals(waitMs("ann", "5.6.7.8"), 0);
});

test("a throttle delays many addresses that try one account, except where its user has logged in", () => {
  const { throttle, waitMs } = slowly();
  throttle.succeeded("ann", "home");
  for (let count = 0; count < 30; count++) throttle.failed("ann", `address ${count}`);
  assertEquals(waitMs("ann", "elsewhere"), 1000);
  assertEquals(waitMs("ann", "home"), 0);
  for (let count = 0; count < 3; count++) throttle.failed("ann", "home");
  assertEquals(waitMs("ann", "home"), 1000);
});

test("wrong passwords at an address where the user has logged in delay no other address", () => {
  const { throttle, waitMs } = slowly();
  throttle.succeeded("ann", "home");
  for (let count = 0; count < 40; count++) throttle.failed("ann", "home");
  assertEquals(waitMs("ann", "elsewhere"), 0);
});

test("a right password does not clear the count of its address", () => {
  const { throttle, waitMs } = slowly();
  for (let count = 0; count < 15; count++) {
    throttle.failed(`user ${count}`, "1.2.3.4");
    throttle.succeeded("mallory", "1.2.3.4");
  }
  assertEquals(waitMs("ann", "1.2.3.4"), 1000);
});

test("a right password clears the count of its account at its address", () => {
  const { throttle, waitMs } = slowly();
  for (let count = 0; count < 2; count++) throttle.failed("ann", "1.2.3.4");
  throttle.succeeded("ann", "1.2.3.4");
  for (let count = 0; count < 2; count++) throttle.failed("ann", "1.2.3.4");
  assertEquals(waitMs("ann", "1.2.3.4"), 0);
});

test("a throttle remembers the latest 10,000 keys", () => {
  const { throttle, waitMs } = slowly({ attempts: 1 });
  throttle.failed("first", "address of first");
  for (let count = 0; count < 10_000; count++) throttle.failed(`user ${count}`, `address ${count}`);
  assertEquals(waitMs("first", "address of first"), 0); // forgotten
  assertEquals(waitMs("user 0", "address 0"), 1000);
  assertEquals(waitMs("user 9999", "address 9999"), 1000);
});

test("names that an attacker makes up do not push out the count of an account", () => {
  const { throttle, waitMs } = slowly({ attempts: 1 });
  for (let count = 0; count < 10; count++) throttle.failed("ann", `network ${count}`);
  assertEquals(waitMs("ann", "elsewhere"), 1000);
  for (let count = 0; count < 12_000; count++) {
    throttle.failed(`name ${count}`, `other network ${count}`, false);
  }
  assertEquals(waitMs("ann", "elsewhere"), 1000);
  // Nor do addresses that fail once push out one that fails again and again.
  for (let count = 0; count < 5; count++) throttle.failed(`user ${count}`, "192.0.2.66");
  for (let count = 0; count < 12_000; count++) throttle.failed("ann", `third network ${count}`);
  assertEquals(waitMs("bob", "192.0.2.66"), 1000);
});

test("a throttle forgets expired counts before others", () => {
  const { clock, throttle, waitMs } = slowly({ attempts: 1 });
  for (let count = 0; count < 9999; count++) throttle.failed(`old ${count}`, `network ${count}`);
  clock.now += 60_001;
  throttle.failed("first", "address of first");
  for (let count = 0; count < 9999; count++) throttle.failed(`new ${count}`, `other ${count}`);
  assertEquals(waitMs("first", "address of first"), 1000);
});

test("no address and account can be written to look like another pair", () => {
  const { throttle, waitMs } = slowly({ attempts: 1 });
  for (const between of ["\n", " ", ",", ":", "|", "\0", '","', ""]) {
    throttle.failed(`b${between}c`, "a");
    assertEquals(waitMs("c", `a${between}b`), 0);
    throttle.failed("d", `e${between}f`);
    assertEquals(waitMs(`d${between}e`, "f"), 0);
  }
});

test("networkOf() gives all of an IPv4 address and the first half of an IPv6 address", () => {
  for (
    const [address, network] of [
      ["192.0.2.7", "192.0.2.7"],
      ["::ffff:192.0.2.7", "192.0.2.7"],
      ["::FFFF:192.0.2.7", "192.0.2.7"],
      ["::ffff:7f00:1", "127.0.0.1"],
      ["0:0:0:0:0:FFFF:c000:0207", "192.0.2.7"],
      ["0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"],
      ["::ffff:192.0.2.7%lo", "192.0.2.7"],
      ["::ffff:7f00:1%3", "127.0.0.1"],
      ["2001:db8:1:2::192.0.2.7", "2001:db8:1:2"],
      ["64:ff9b::192.0.2.7", "64:ff9b:0:0"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
      ["2001:0DB8:0001:0002::6", "2001:db8:1:2"],
      ["2001:db8::1", "2001:db8:0:0"],
      ["2001:db8::", "2001:db8:0:0"],
      ["::1", "0:0:0:0"],
      ["::", "0:0:0:0"],
      ["fe80::1%eth0", "fe80:0:0:0"],
      ["fe80::1%eth0:1", "fe80:0:0:0"],
      ["1::2::3", "1::2::3"],
      ["1:2:3", "1:2:3"],
      ["1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9"],
      ["12345::", "12345::"],
      ["::ffff:1.2.3.999", "::ffff:1.2.3.999"],
      ["192.0.2.7:5555", "192.0.2.7:5555"],
      ["somewhere", "somewhere"],
      ["", ""],
      [undefined, ""],
    ] as const
  ) assertEquals(networkOf(address), network);
  fc.assert(fc.property(fc.oneof(fc.string(), fc.ipV6(), fc.ipV4()), (text) => {
    assertEquals(networkOf(text).length <= 255, true);
  }));
  assertThrows(() => networkOf(5 as never));
});

test("hostOf() gives one text for all spellings of an address", () => {
  for (const text of ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::FFFF:7F00:0001%lo"]) {
    assertEquals(hostOf(text), "127.0.0.1");
  }
  assertEquals(hostOf("2001:DB8::1"), hostOf("2001:db8:0:0:0:0:0:1"));
  assertNotEquals(hostOf("2001:db8::1"), hostOf("2001:db8::2"));
  assertEquals(hostOf("fe80::1%eth0"), hostOf("fe80::1"));
  assertEquals(hostOf("unix:"), "unix:");
  fc.assert(fc.property(fc.ipV6(), (text) => assertEquals(hostOf(hostOf(text)), hostOf(text))));
  const trusted = new Set(["::1", "127.0.0.1"].map(hostOf));
  for (const proxy of ["::ffff:7f00:1", "0:0:0:0:0:0:0:1", "::1%lo", "127.0.0.1"]) {
    assertEquals(clientAddress(proxy, "203.0.113.9", trusted), "203.0.113.9", proxy);
  }
});
