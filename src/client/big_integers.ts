/**
 * Integers that a JavaScript number cannot hold, for clients: `JSON.parse` rounds them without a word, so
 * that an amount of money or an id of 19 digits becomes another one. Give a client {@linkcode bigIntegers}
 * as its `reviver`, and it gets all their digits. (A server has the option `bigIntegers` of its methods.)
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8259#section-6 | RFC 8259, section 6}
 *
 * @module
 */

import type { Reviver } from "../protocol/message.ts";

export type { Reviver } from "../protocol/message.ts";

/**
 * Makes a `reviver` that keeps integers beyond ±(2^53-1), of up to 1,000 digits, as bigints or as strings.
 * All other numbers stay numbers, also those with a point or an exponent, such as 1e300. An integer of more
 * digits becomes `Infinity`.
 *
 * @param as What such an integer becomes.
 * @returns The reviver, for the option `reviver` of a client, or for `JSON.parse`.
 * @throws {TypeError} If `as` is something else, or this engine's `JSON.parse` does not tell the text of a
 * number: Node before 21, Firefox before 135, Safari before 18.4.
 *
 * @example A client that gets ids of 19 digits
 * ```ts
 * import { JsonRpc, rawJson } from "@x/jsonrpc";
 * import { bigIntegers } from "@x/jsonrpc/big_integers";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("newest", () => rawJson('{"id":1234567890123456789}'));
 * await using client = await testClient(rpc, { reviver: bigIntegers("bigint") });
 * const { id } = await client.call("newest") as { id: bigint };
 * console.assert(id === 1234567890123456789n);
 * ```
 */
export function bigIntegers(as: "bigint" | "string"): Reviver {
  if (as !== "bigint" && as !== "string") {
    throw new TypeError(`Expected "bigint" or "string", got \`${as}\``);
  }
  if (JSON.parse("1", sourceOf) !== "1") {
    throw new TypeError(
      "Cannot keep big integers: this engine's JSON.parse does not tell the text of a number. Update it",
    );
  }
  return (_key, value, context) => {
    if (typeof value !== "number" || Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
    const { source = "" } = context ?? {};
    // Some engines need seconds to make a bigint of a million digits.
    if (!/^-?\d{1,1000}$/.test(source)) return value;
    return as === "string" ? source : BigInt(source);
  };
}

const sourceOf: Reviver = (_key, _value, context) => context?.source;
