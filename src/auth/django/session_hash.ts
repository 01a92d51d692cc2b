/**
 * The session auth hash: what a Django session keeps of its user's password, so that a new password
 * ends the user's other sessions.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { equalInConstantTime, saltedHmac } from "./signing.ts";
import type { SecretKey } from "./signing.ts";

/**
 * Whether a session still belongs to a user: whether the user's password is the one of the login.
 *
 * @param hash The hash that the session holds (`_auth_user_hash`).
 * @param password The user's column `password`.
 * @param keys `SECRET_KEY` and its fallbacks.
 * @returns Whether the hash was made of this password with one of these keys, with SHA-256 as Django
 * 3.1 and newer do, or with SHA-1 as older versions did.
 */
export function isSessionHashValid(
  hash: string,
  password: string,
  keys: readonly SecretKey[],
): boolean {
  if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) return false;
  const given = Buffer.from(hash, "hex");
  const algorithm = given.length === 32 ? "sha256" : "sha1";
  return keys.some((key) => equalInConstantTime(saltedHmac(SALT, password, key, algorithm), given));
}

const SALT = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";
