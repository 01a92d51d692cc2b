/**
 * Texts that Django has signed with its `SECRET_KEY`, in the format of Django 3.1 and newer.
 *
 * @see {@link https://docs.djangoproject.com/en/stable/topics/signing/ | Django: cryptographic signing}
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { inflateSync } from "node:zlib";

/** A key: Django's `SECRET_KEY`, as text or as bytes. */
export type SecretKey = string | Uint8Array;

/** How a text was signed. */
export interface SigningOptions {
  /** The keys that count: `SECRET_KEY`, and its fallbacks. */
  readonly keys: readonly SecretKey[];
  /** What the text is for. A text that was signed for something else is refused. */
  readonly salt: string;
  /** Milliseconds for which a signature counts. @default {Infinity} */
  readonly maxAgeMs?: number;
}

/**
 * The HMAC that Django makes (`django.utils.crypto.salted_hmac`).
 *
 * @param salt What the value is for.
 * @param value The value.
 * @param key The key.
 * @param algorithm The hash function. @default {"sha256"}
 * @returns The bytes of the HMAC.
 */
export function saltedHmac(
  salt: string,
  value: string,
  key: SecretKey,
  algorithm: "sha256" | "sha1" = "sha256",
): Uint8Array {
  const derived = createHash(algorithm).update(salt).update(key).digest();
  return createHmac(algorithm, derived).update(value).digest();
}

/**
 * Whether two byte strings are equal. Takes a time that depends on their lengths alone.
 *
 * @param a One of them.
 * @param b The other one.
 * @returns Whether they are equal.
 */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * Reads a value that Django has signed (`django.core.signing.dumps`).
 *
 * @param text The signed text.
 * @param options The keys, the salt and the age.
 * @returns The value, or `undefined` if the text is not valid: if it was changed, signed with another
 * key or for another purpose, if it is too old, or if it is not JSON.
 */
export function readSigned(text: string, options: SigningOptions): unknown {
  const { keys, salt, maxAgeMs = Infinity } = options;
  if (text.length > MAX_LENGTH) return undefined;
  const stamped = unsign(text, keys, salt);
  const [payload, stamp] = stamped === undefined ? [] : splitLast(stamped);
  if (payload === undefined || stamp === undefined) return undefined;
  const signedAt = fromBase62(stamp) * 1000;
  // `!(… <= …)`: a stamp that is not a number is too old.
  if (!(Date.now() - signedAt <= maxAgeMs)) return undefined;
  try {
    return JSON.parse(decode(payload));
  } catch {
    return undefined;
  }
}

// No cookie is longer than 4 kB. Sessions in a database may be.
const MAX_LENGTH = 1024 * 1024;
// What a compressed payload may become. Only the owner of the key can sign one, but a mistake there
// must not take all memory here.
const MAX_INFLATED = 4 * 1024 * 1024;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

function unsign(text: string, keys: readonly SecretKey[], salt: string): string | undefined {
  const [value, signature] = splitLast(text);
  if (value === undefined || signature === undefined) return undefined;
  const given = Buffer.from(signature);
  const isSigned = keys.some((key) =>
    equalInConstantTime(Buffer.from(signatureOf(value, key, salt)), given)
  );
  return isSigned ? value : undefined;
}

function signatureOf(value: string, key: SecretKey, salt: string): string {
  return Buffer.from(saltedHmac(`${salt}signer`, value, key)).toString("base64url");
}

function splitLast(text: string): [before: string, after: string] | [] {
  const colon = text.lastIndexOf(":");
  return colon === -1 ? [] : [text.slice(0, colon), text.slice(colon + 1)];
}

function decode(payload: string): string {
  if (!payload.startsWith(".")) return Buffer.from(payload, "base64url").toString("latin1");
  const compressed = Buffer.from(payload.slice(1), "base64url");
  return inflateSync(compressed, { maxOutputLength: MAX_INFLATED }).toString("latin1");
}

function fromBase62(text: string): number {
  if (!/^[0-9A-Za-z]{1,10}$/.test(text)) return NaN;
  let number = 0;
  for (const digit of text) number = number * 62 + DIGITS.indexOf(digit);
  return number;
}
