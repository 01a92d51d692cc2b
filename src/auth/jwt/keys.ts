/**
 * The keys that tokens are verified with. The options fix the keys and their algorithms once; what a
 * token claims about its own algorithm or key never chooses another.
 *
 * @module
 */

import { createLocalJWKSet, createRemoteJWKSet, importSPKI } from "jose";
import type { CryptoKey, JSONWebKeySet, JWK, JWTVerifyGetKey } from "jose";

/** The key of tokens and its algorithms. Exactly one of the three kinds of key must be given. */
export interface JwtKeys {
  /**
   * For HS256, HS384 and HS512: a secret that the issuer shares, as bytes, or as text of which the
   * UTF-8 bytes are used. At least as long as the hash: 32, 48 or 64 bytes.
   */
  readonly secret?: Uint8Array | string;
  /** For all other algorithms: a public key, as a CryptoKey, a JWK, or SPKI text (PEM). */
  readonly publicKey?: CryptoKey | JWK | string;
  /**
   * For all other algorithms: a JSON Web Key Set, or the URL of one. The server fetches the URL when
   * the first token comes, and again when a token names a key that is not in the set. Use `https:`.
   */
  readonly jwks?: JSONWebKeySet | URL;
  /**
   * The algorithms that tokens may use. With a secret: HS256, HS384, HS512. With other keys: RS256,
   * RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519.
   */
  readonly algorithms: readonly string[];
}

/**
 * Checks the keys once.
 *
 * @param keys The options.
 * @returns The function that finds the key for a token.
 * @throws {TypeError} If not exactly one kind of key is given, if it is not a valid key, or if an
 * algorithm does not fit it.
 * @throws {RangeError} If a secret is too short.
 */
export function resolveKeys(keys: JwtKeys): JWTVerifyGetKey {
  const { secret, publicKey, jwks, algorithms } = keys;
  const given = [secret, publicKey, jwks].filter((each) => each !== undefined);
  if (given.length !== 1) {
    throw new TypeError(
      `Expected exactly one of \`secret\`, \`publicKey\` and \`jwks\`, got ${given.length}`,
    );
  }
  checkAlgorithms(algorithms, secret === undefined ? ASYMMETRIC : SYMMETRIC);
  if (secret !== undefined) return always(toSecret(secret, algorithms));
  if (publicKey !== undefined) return toPublicKey(publicKey);
  return jwks instanceof URL ? createRemoteJWKSet(jwks) : localSet(jwks as JSONWebKeySet);
}

const SYMMETRIC = /^HS(?:256|384|512)$/;
const ASYMMETRIC = /^(?:(?:RS|PS|ES)(?:256|384|512)|EdDSA|Ed25519)$/;

function checkAlgorithms(algorithms: readonly string[], known: RegExp): void {
  const valid = Array.isArray(algorithms) && algorithms.length > 0 &&
    algorithms.every((each) => known.test(each));
  if (valid) return;
  throw new TypeError(
    `Expected \`algorithms\` to be a list of algorithms that fit the key, got \`${algorithms}\``,
  );
}

function toSecret(secret: Uint8Array | string, algorithms: readonly string[]): Uint8Array {
  // Public keys are no secret: anybody who has one could sign tokens with its text.
  if (typeof secret === "string" && secret.includes("-----BEGIN")) {
    throw new TypeError("Expected `secret` to be a secret, got a key in PEM (use `publicKey`)");
  }
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : secret.slice();
  const least = Math.max(...algorithms.map((each) => Number(each.slice(2)) / 8));
  if (bytes.length >= least) return bytes;
  throw new RangeError(`Expected \`secret\` to have at least ${least} bytes, got ${bytes.length}`);
}

function toPublicKey(key: CryptoKey | JWK | string): JWTVerifyGetKey {
  if (typeof key === "string") return spki(key);
  if ("kty" in key) {
    if (key.kty !== "oct" && key.d === undefined) return always({ ...key });
  } else if ((key as CryptoKey).type === "public") {
    return always(key as CryptoKey);
  }
  throw new TypeError("Expected `publicKey` to be a public key, got a private or secret one");
}

function spki(text: string): JWTVerifyGetKey {
  if (!text.startsWith("-----BEGIN PUBLIC KEY-----")) {
    throw new TypeError("Expected `publicKey` as text to start with -----BEGIN PUBLIC KEY-----");
  }
  // A CryptoKey serves one algorithm, so the text is imported once for each.
  const imported = new Map<string, Promise<CryptoKey>>();
  return ({ alg }) => {
    let key = imported.get(alg);
    if (key === undefined) imported.set(alg, key = importSPKI(text, alg));
    return key;
  };
}

function localSet(jwks: JSONWebKeySet): JWTVerifyGetKey {
  if (Array.isArray(jwks.keys)) return createLocalJWKSet(jwks);
  throw new TypeError("Expected `jwks` to be a URL, or a record with an array `keys`");
}

function always(key: CryptoKey | JWK | Uint8Array): JWTVerifyGetKey {
  return () => key;
}
