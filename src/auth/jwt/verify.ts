/**
 * Verifies a token, and makes its user.
 *
 * @module
 */

import { errors, jwtVerify } from "jose";
import type { JWTPayload } from "jose";
import { TokenError } from "../bearer.ts";
import { resolveKeys } from "./keys.ts";
import type { JwtKeys } from "./keys.ts";
import { checkMs } from "../../util/check_option.ts";

/** Which tokens are accepted. */
export interface JwtRules extends JwtKeys {
  /**
   * The audience, or several: a token must name one of them in `aud`. Without this option the server
   * rejects every token that has an `aud`, because it was made for another server.
   */
  readonly audience?: string | readonly string[];
  /** The issuer, or several: the `iss` of a token must be one of them. Without it `iss` is ignored. */
  readonly issuer?: string | readonly string[];
  /**
   * Milliseconds by which the clocks of issuer and server may differ: the server accepts a token that
   * much earlier and longer. At most 60000.
   *
   * @default {0}
   */
  readonly leewayMs?: number;
}

/** Makes a user from the claims of a valid token. `null` rejects the token. */
export type ToUser<User extends object> = (
  claims: JWTPayload,
) => User | null | Promise<User | null>;

/** The user of a token, and when the token expires. */
export interface Identity<User extends object> {
  /** The user. */
  readonly user: User;
  /** When the token expires, leeway included, in milliseconds of the epoch. */
  readonly expiresAt: number;
  /** The token's `exp`, without leeway, in milliseconds of the epoch. */
  readonly renewBy: number;
  /** Whom the token is about: its `iss` and `sub` as one text; `undefined` without a `sub`. */
  readonly subject: string | undefined;
}

/**
 * Makes the function that verifies tokens.
 *
 * @param rules The keys, and which tokens are accepted.
 * @param toUser Makes the user of a token.
 * @returns A function that gives the user of a token. It rejects with {@linkcode TokenError} if the
 * token is bad, and with another error if this server or the key server failed.
 * @throws {TypeError} If the rules contradict each other.
 * @throws {RangeError} If a number is out of bounds.
 */
export function createVerifier<User extends object>(
  rules: JwtRules,
  toUser: ToUser<User>,
): (token: string) => Promise<Identity<User>> {
  const keys = resolveKeys(rules);
  const options = resolveRules(rules);
  const leewayMs = options.clockTolerance * 1000;

  async function claimsOf(token: string): Promise<JWTPayload & { exp: number }> {
    if (token.length > MAX_TOKEN_LENGTH) throw new TokenError("too long");
    try {
      const { payload } = await jwtVerify<{ exp: number }>(token, keys, options);
      return payload;
    } catch (error) {
      throw isTokenFault(error) ? new TokenError(reasonOf(error)) : error;
    }
  }

  return async function verify(token) {
    const claims = await claimsOf(token);
    const renewBy = claims.exp * 1000;
    const expiresAt = renewBy + leewayMs;
    // jose compares seconds; this compares milliseconds.
    if (Date.now() >= expiresAt) throw new TokenError("expired");
    if (claims.aud !== undefined && options.audience === undefined) {
      throw new TokenError('its "aud" does not match');
    }
    const user = await toUser(claims);
    if (user === null) throw new TokenError("unknown user");
    if (typeof user === "object") return { user, expiresAt, renewBy, subject: subjectOf(claims) };
    throw new TypeError(`Expected \`toUser\` to give an object or null, got a ${typeof user}`);
  };
}

/** Two issuers may give the same name to different people. */
function subjectOf({ iss, sub }: JWTPayload): string | undefined {
  return sub === undefined ? undefined : JSON.stringify([iss, sub]);
}

// As much as common proxies accept in one header.
const MAX_TOKEN_LENGTH = 8192;

function resolveRules(rules: JwtRules) {
  return {
    algorithms: [...rules.algorithms],
    clockTolerance: checkMs("leewayMs", rules.leewayMs ?? 0, 0, 60_000) / 1000,
    requiredClaims: ["exp"],
    ...("audience" in rules ? { audience: names("audience", rules.audience) } : {}),
    ...("issuer" in rules ? { issuer: names("issuer", rules.issuer) } : {}),
  };
}

/**
 * One name or several. An option that is given as `undefined` is an error and not the same as leaving
 * it out: it may come from a setting that is missing, and would then accept tokens of any issuer.
 */
function names(option: string, value: string | readonly string[] | undefined): string[] {
  const list = typeof value === "string" ? [value] : value ?? [];
  const valid = list.length > 0 && list.every((each) => typeof each === "string" && each !== "");
  if (valid) return [...list];
  throw new TypeError(
    `Expected \`${option}\` to be a string or a list of strings, got \`${value}\``,
  );
}

/** Whether the token is at fault, and neither the keys nor the server that has them. */
function isTokenFault(error: unknown): error is errors.JOSEError {
  return error instanceof errors.JOSEError && !SERVER_FAULTS.has(error.code);
}

const SERVER_FAULTS: ReadonlySet<string> = new Set([
  errors.JOSEError.code,
  errors.JWKInvalid.code,
  errors.JWKSInvalid.code,
  errors.JWKSTimeout.code,
]);

/** A reason in fixed words: the message of jose's error may quote a part of the token. */
function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "expired";
  if (!(error instanceof errors.JWTClaimValidationFailed)) return "malformed or bad signature";
  if (error.claim === "nbf" && error.reason === "check_failed") return "not valid yet";
  return error.reason === "missing"
    ? `"${error.claim}" is missing`
    : `its "${error.claim}" does not match`;
}
