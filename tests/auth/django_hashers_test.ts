import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import {
  DEFAULT_SAMPLE,
  HasherError,
  spendTime,
  verifyPassword,
} from "../../src/auth/django/hashers.ts";

// The vectors of Django's own tests (tests/auth_tests/test_hashers.py), and one of each algorithm as Django 5.2
// makes it.
const VECTORS: readonly (readonly [password: string, encoded: string])[] = [
  ["lètmein", "pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c="],
  ["lètmein", "pbkdf2_sha256$390000$seasalt2$geC/uZ92nRXDSjSxeoiBqYyRcrLzMm8xK3ro1QS1uo8="],
  ["lètmein", "pbkdf2_sha1$390000$seasalt2$aDapRanzW8aHTz97v2TcfHzWD+I="],
  [
    "lètmein",
    "pbkdf2_sha256$1000000$seasalt2345678912$yo6srIY9wqHvokulufM7m65WQHMv5RD1zx4XvfkY7dI=",
  ],
  ["lètmein", "pbkdf2_sha1$1000000$seasalt2345678912$psiRkBUPcn0hDVaAv/r1zZPihOs="],
  [
    "lètmein",
    "scrypt$16384$seasalt2345678912$8$5$PA9lSPcjzId04Kr6vy3qJ0mJOFHrnbHCR06UmppTN7O8B7ahofbwV959ajw8pCF76uMUMM+l10+YjcjQHWwMyw==",
  ],
  [
    "secret",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$Y041dExhNkljRUUy$TMa6A8fPJhCAUXRhJXCXdw",
  ],
  ["secret", "argon2$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YC9+jJCrQhs5R6db7LlN8Q"],
  [
    "lètmein",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$c2Vhc2FsdDIzNDU2Nzg5MTI$/wthSLO4ePkKjV+qXl+1+R8LXyNwW940MqDIH2omyT0",
  ],
  ["lètmein", "bcrypt_sha256$$2b$12$2wKC31S9DDpf4DGlZIKGxuQ14sI9J/9dsJf.xUVVo7Q6BeAH1wyWa"],
];

for (const [password, encoded] of VECTORS) {
  test(`verifyPassword() accepts ${encoded.slice(0, 45)}… and no other password`, async () => {
    assertEquals(await verifyPassword(password, encoded), true);
    assertEquals(await verifyPassword(`${password}z`, encoded), false);
    assertEquals(await verifyPassword("", encoded), false);
    const swapped = encoded.slice(0, -8) + "AAAAAAA=";
    assertEquals(await verifyPassword(password, swapped).catch(() => false), false);
  });
}

test("verifyPassword() accepts old hashes with fewer iterations", async () => {
  // Python: base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"old", b"salt", 1))
  const encoded = "pbkdf2_sha256$1$salt$ubVTl0KZA0rg9poLyRKccqoWt2gw/H43siSXxuaiiVw=";
  assertEquals(await verifyPassword("old", encoded), true);
});

test("verifyPassword() never accepts an unusable password", async () => {
  for (const encoded of ["", "!", "!d0hGRRg2UY3eRE9mHTqlRu4ZaX7Jxy"]) {
    for (const password of ["", encoded, "!"]) {
      assertEquals(await verifyPassword(password, encoded), false);
    }
  }
});

test("verifyPassword() names an unknown algorithm, and what may be done", async () => {
  for (
    const [encoded, algorithm] of [
      ["md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3", "md5"],
      ["88a434c88cca4e900f7874cd98123f43", "unsalted_md5"],
      ["lolcat$salt$hash", "lolcat"],
      ["constructor$salt$hash", "constructor"],
      ["__proto__$salt$hash", "__proto__"],
    ] as const
  ) {
    const error = await assertRejects(() => verifyPassword("x", encoded), HasherError);
    assertStringIncludes(error.message, `Unknown password algorithm "${algorithm}"`);
    assertStringIncludes(
      error.message,
      "pbkdf2_sha256, pbkdf2_sha1, scrypt, argon2, bcrypt_sha256",
    );
    assertStringIncludes(error.message, "`hashers`");
    assert(!/[$]|3f86|88a4/.test(error.message), "nothing of the hash");
  }
});

test("verifyPassword() takes hashers of the program, also in place of its own", async () => {
  const hashers = {
    plain: (password: string, encoded: string) => encoded === `plain$${password}`,
    scrypt: () => Promise.resolve(true),
    broken: () => "yes" as unknown as boolean,
  };
  assertEquals(await verifyPassword("secret", "plain$secret", hashers), true);
  assertEquals(await verifyPassword("other", "plain$secret", hashers), false);
  assertEquals(await verifyPassword("any", "scrypt$x", hashers), true);
  assertEquals(await verifyPassword("any", "broken$x", hashers), false);
});

test("verifyPassword() refuses a damaged hash, before it costs anything", async () => {
  for (
    const encoded of [
      ...["pbkdf2_sha256$", "pbkdf2_sha256$0$salt$AA==", "pbkdf2_sha256$-1$salt$AA=="],
      ...["pbkdf2_sha256$9999999999$salt$AA==", "pbkdf2_sha1$1e9$salt$AA=="],
      ...["scrypt$", "scrypt$1073741824$salt$8$1$AA==", "scrypt$16384$salt$1000$1$AA=="],
    ]
  ) await assertRejects(() => verifyPassword("x", encoded), HasherError, "Malformed");
});

test("spendTime() hashes what is missing, and as much as a real check without a user", async () => {
  await spendTime("x", undefined, DEFAULT_SAMPLE.replace("1000000", "1000"));
  await spendTime("x", "pbkdf2_sha256$1000$salt$x", "pbkdf2_sha256$2000$salt$x");
  let checks = 0;
  const hashers = { counted: () => (checks++, false) };
  await spendTime("x", undefined, "counted$x", hashers);
  assertEquals(checks, 1);
  await spendTime("x", "counted$x", "counted$x", hashers);
  assertEquals(checks, 1, "a check of the user's own hash was made before");
});
