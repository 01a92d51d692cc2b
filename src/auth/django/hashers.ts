/**
 * Checking passwords that Django has hashed.
 *
 * @see {@link https://docs.djangoproject.com/en/stable/topics/auth/passwords/ | Django: password management}
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, pbkdf2 as nodePbkdf2, scrypt as nodeScrypt } from "node:crypto";
import { promisify } from "node:util";
import { equalInConstantTime } from "./signing.ts";

/**
 * Checks a password.
 *
 * @param password The password.
 * @param encoded The column `password`, as in `pbkdf2_sha256$260000$SALT$HASH`.
 * @returns Whether the password is right.
 */
export type DjangoHasher = (password: string, encoded: string) => boolean | Promise<boolean>;

/** Hashers by the name of their algorithm, as it stands before the first `$`. */
export type DjangoHashers = Readonly<Record<string, DjangoHasher>>;

/** A password cannot be checked: its algorithm is unknown, or the package for it is missing. */
export class HasherError extends Error {
  override readonly name = "HasherError";
}

/**
 * Checks a password.
 *
 * @param password The password.
 * @param encoded The column `password`.
 * @param more Hashers beside Django's own, or in their place.
 * @returns Whether the password is right. An unusable password (`!…`) never is.
 * @throws {HasherError} If the algorithm is unknown, or the package for it is missing.
 */
export async function verifyPassword(
  password: string,
  encoded: string,
  more: DjangoHashers = {},
): Promise<boolean> {
  if (encoded === "" || encoded.startsWith("!")) return false;
  const algorithm = algorithmOf(encoded);
  const hasher = own(more, algorithm) ?? own(HASHERS, algorithm);
  if (hasher === undefined) {
    const known = [...new Set([...Object.keys(HASHERS), ...Object.keys(more)])].join(", ");
    throw new HasherError(
      `Unknown password algorithm ${JSON.stringify(algorithm.slice(0, 40))}: expected one of ` +
        `${known} (add it to the option \`hashers\`)`,
    );
  }
  return await hasher(password, encoded) === true;
}

/**
 * Spends the time that checking a wrong password would take, so that a fast answer does not reveal
 * that there is no such user, or that the hash is a cheap one.
 *
 * @param password The password that was sent.
 * @param encoded The column `password` of the user, if there is one.
 * @param sample A typical encoded password of the site.
 * @param more Hashers beside Django's own.
 */
export async function spendTime(
  password: string,
  encoded: string | undefined,
  sample: string,
  more: DjangoHashers = {},
): Promise<void> {
  if (encoded === undefined) return void await verifyPassword(password, sample, more);
  const [typical, actual] = [PBKDF2.exec(sample), PBKDF2.exec(encoded)];
  // A user with another algorithm has paid for that already.
  if (typical === null || actual === null || typical[1] !== actual[1]) return;
  const missing = Number(typical[2]) - Number(actual[2]);
  if (missing > 0) await pbkdf2(password, "salt", missing, 32, actual[1] ?? "sha256");
}

/** What is hashed if the site has no user with a usable password: Django 5.2's default. */
export const DEFAULT_SAMPLE: string = `pbkdf2_sha256$1000000$salt$${"A".repeat(43)}=`;

const PBKDF2 = /^pbkdf2_(sha256|sha1)\$(\d{1,9})\$/;
const pbkdf2 = promisify(nodePbkdf2);
// Its overloads hide the one with options from `promisify`.
const scrypt = promisify(nodeScrypt) as (
  password: string,
  salt: string,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Uint8Array>;

const HASHERS: DjangoHashers = {
  pbkdf2_sha256: (password, encoded) => verifyPbkdf2(password, encoded, "sha256"),
  pbkdf2_sha1: (password, encoded) => verifyPbkdf2(password, encoded, "sha1"),
  scrypt: verifyScrypt,
  argon2: verifyArgon2,
  bcrypt_sha256: verifyBcryptSha256,
};

/** The algorithm's name. Passwords of ancient versions of Django have none. */
function algorithmOf(encoded: string): string {
  return encoded.includes("$") ? encoded.split("$", 1)[0] ?? "" : "unsalted_md5";
}

function own(hashers: DjangoHashers, name: string): DjangoHasher | undefined {
  return Object.hasOwn(hashers, name) ? hashers[name] : undefined;
}

async function verifyPbkdf2(
  password: string,
  encoded: string,
  digest: "sha256" | "sha1",
): Promise<boolean> {
  const [, rounds = "", salt = "", hash = ""] = encoded.split("$");
  if (!/^[1-9]\d{0,8}$/.test(rounds)) throw malformed(encoded);
  const length = digest === "sha256" ? 32 : 20;
  const derived = await pbkdf2(password, salt, Number(rounds), length, digest);
  return equalInConstantTime(derived, Buffer.from(hash, "base64"));
}

/** `scrypt$N$SALT$R$P$HASH`: not in the order of its arguments. */
async function verifyScrypt(password: string, encoded: string): Promise<boolean> {
  const [, n = "", salt = "", r = "", p = "", hash = ""] = encoded.split("$");
  const [N, blockSize, parallelism] = [Number(n), Number(r), Number(p)];
  // The bounds keep a damaged row from taking all memory.
  if (!(N >= 2 && N <= 2 ** 20 && blockSize >= 1 && blockSize <= 32 && parallelism >= 1)) {
    throw malformed(encoded);
  }
  const options = { N, r: blockSize, p: parallelism, maxmem: 256 * N * blockSize };
  const derived = await scrypt(password, salt, 64, options);
  return equalInConstantTime(derived, Buffer.from(hash, "base64"));
}

/** `argon2$argon2id$v=19$m=102400,t=2,p=8$SALT$HASH` */
async function verifyArgon2(password: string, encoded: string): Promise<boolean> {
  const { verify } = await needs("argon2", "@node-rs/argon2", () => import("@node-rs/argon2"));
  return await verify(encoded.slice("argon2".length), password);
}

/** `bcrypt_sha256$$2b$12$…`: of the SHA-256 of the password, since bcrypt reads 72 bytes at most. */
async function verifyBcryptSha256(password: string, encoded: string): Promise<boolean> {
  const { verify } = await needs(
    "bcrypt_sha256",
    "@node-rs/bcrypt",
    () => import("@node-rs/bcrypt"),
  );
  const digest = createHash("sha256").update(password).digest("hex");
  return await verify(digest, encoded.slice("bcrypt_sha256$".length));
}

async function needs<Module>(
  algorithm: string,
  name: string,
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    throw new HasherError(
      `Cannot check a password with ${algorithm}: the package ${name} is missing ` +
        `(npm install ${name})`,
      { cause },
    );
  }
}

function malformed(encoded: string): HasherError {
  return new HasherError(`Malformed password of algorithm ${algorithmOf(encoded)}`);
}
