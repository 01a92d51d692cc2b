/**
 * From a token to the user that it stands for, or to the reason why it is refused.
 *
 * @module
 */

import { errors, jwtVerify } from "jose";
import type { JWTPayload } from "jose";
import { TokenError } from "../bearer.ts";
import { resolveKeys } from "./keys.ts";
import type { JwtKeys } from "./keys.ts";
import { checkMs } from "../../util/check_option.ts";

/** Which tokens are good. */
export interface JwtRules extends JwtKeys {
  /**
   * Whom tokens must be meant for: their `aud` is or has one of these. Without it a token that
   * names an audience is refused, since it is meant for somebody else.
   */
  readonly audience?: string | readonly string[];
  /** Who must have made the tokens: their `iss` is one of these. Without it `iss` is not looked at. */
  readonly issuer?: string | readonly string[];
  /**
   * Milliseconds by which clocks may differ: a token is good that much longer, and earlier. At
   * most 60000.
   *
   * @default {0}
   */
  readonly leewayMs?: number;
}

/** Makes the user of the claims of a good token. `null` refuses the token. */
export type ToUser<User extends object> = (
  claims: JWTPayload,
) => User | null | Promise<User | null>;

/** Whom a token stands for, and until when. */
export interface Identity<User extends object> {
  /** The user. */
  readonly user: User;
  /** When the token is no longer good, leeway included: milliseconds of the epoch. */
  readonly expiresAt: number;
}

/**
 * Makes the function that verifies tokens. That rejects with {@linkcode TokenError} where the token
 * is not good, and with anything else where the fault is on this side.
 *
 * @throws {TypeError} Where the rules contradict each other.
 * @throws {RangeError} Where a number makes no sense.
 */
export function createVerifier<User extends object>(
  rules: JwtRules,
  toUser: ToUser<User>,
): (token: string) => Promise<Identity<User>> {
  const keys = resolveKeys(rules);
  const options = resolveRules(rules);
  const leewayMs = options.clockTolerance * 1000;

  async function claimsOf(token: string): Promise<JWTPayload & { exp: number }> {
    if (token.length > MAX_TOKEN_LENGTH) throw new TokenError("it is too long");
    try {
      const { payload } = await jwtVerify<{ exp: number }>(token, keys, options);
      return payload;
    } catch (error) {
      throw isRefusal(error) ? new TokenError(reasonOf(error)) : error;
    }
  }

  return async function verify(token) {
    const claims = await claimsOf(token);
    const expiresAt = claims.exp * 1000 + leewayMs;
    // To the millisecond: until here it was to the second.
    if (Date.now() >= expiresAt) throw new TokenError("it has expired");
    if (claims.aud !== undefined && options.audience === undefined) {
      throw new TokenError('its "aud" is not for this server');
    }
    const user = await toUser(claims);
    if (user === null) throw new TokenError("its user is not known");
    if (typeof user === "object") return { user, expiresAt };
    throw new TypeError(`Expected \`toUser\` to give an object or null, got a ${typeof user}`);
  };
}

// Longer than any that fits in the headers that common proxies take.
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

/** One name or several. Nothing is not the same as left out: it may come of a setting that is missing. */
function names(option: string, value: string | readonly string[] | undefined): string[] {
  const list = typeof value === "string" ? [value] : value ?? [];
  const good = list.length > 0 && list.every((each) => typeof each === "string" && each !== "");
  if (good) return [...list];
  throw new TypeError(`Expected \`${option}\` to be a text or a list of texts, got \`${value}\``);
}

/** Whether the token is at fault, and not the keys or the way to them. */
function isRefusal(error: unknown): error is errors.JOSEError {
  return error instanceof errors.JOSEError && !OUR_FAULTS.has(error.code);
}

const OUR_FAULTS: ReadonlySet<string> = new Set([
  errors.JOSEError.code,
  errors.JWKInvalid.code,
  errors.JWKSInvalid.code,
  errors.JWKSTimeout.code,
]);

/** Made of fixed words: what jose says may hold a piece of the token. */
function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "it has expired";
  if (!(error instanceof errors.JWTClaimValidationFailed)) return "its form or its signature";
  if (error.claim === "nbf" && error.reason === "check_failed") return "it is not good yet";
  return error.reason === "missing"
    ? `it has no "${error.claim}"`
    : `its "${error.claim}" is not for this server`;
}
