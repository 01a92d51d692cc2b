/**
 * What JSON makes of a value, as types. This file holds types alone.
 *
 * @module
 */

/**
 * The type of `JSON.parse(JSON.stringify(value))`: `toJSON` is honoured, a `Date` is a string, `undefined`
 * is `null` (or, as a member, missing), functions and symbols are gone, and a `Map` or `Set` is `{}`. What a
 * method returns as a stream is an array of its items.
 *
 * @typeParam T The type of the value.
 *
 * @example
 * ```ts
 * import type { Json } from "@x/jsonrpc/types";
 *
 * const parsed: Json<{ at: Date; note: string | undefined }> = { at: "2026-11-28T12:00:00.000Z" };
 * ```
 */
export type Json<T> = unknown extends T ? T : JsonValue<T>;

type JsonValue<T> = T extends Scalar ? T
  : T extends undefined | void ? null
  // deno-lint-ignore no-explicit-any -- toJSON may take the key
  : T extends { toJSON(key?: any): infer Value } ? Json<Value>
  : T extends readonly unknown[] ? { [Index in keyof T]: Json<T[Index]> }
  : T extends NotJson ? null
  // The server collects the items of a stream.
  : T extends AsyncIterable<infer Item> ? Json<Item>[]
  // deno-lint-ignore ban-types -- what JSON makes of them
  : T extends Opaque ? {}
  : T extends { readonly BYTES_PER_ELEMENT: number } ? { readonly [index: string]: number }
  : T extends Error ? JsonObject<Omit<T, keyof Error>>
  : T extends object ? JsonObject<T>
  : null;

type Scalar = string | number | boolean | null;

// deno-lint-ignore ban-types -- every function
type NotJson = Function | symbol | undefined;

type Opaque =
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | WeakMap<WeakKey, unknown>
  | WeakSet<WeakKey>
  | PromiseLike<unknown>
  | RegExp
  | ArrayBuffer;

type JsonObject<T> = AllRequired<T> extends true
  ? { [Key in keyof T as Key extends symbol ? never : Key]: Json<T[Key]> }
  : Flat<
    & { [Key in keyof T as Kept<T[Key], Key, never>]: Json<T[Key]> }
    & { [Key in keyof T as Kept<T[Key], never, Key>]?: Json<Exclude<T[Key], NotJson>> }
  >;

type AllRequired<T> = true extends { [Key in keyof T]-?: MayVanish<T[Key]> }[keyof T] ? false
  : true;

type MayVanish<Value> = unknown extends Value ? false
  : [Extract<Value, NotJson>] extends [never] ? false
  : true;

type Kept<Value, Required, Optional> = MayVanish<Value> extends false ? Required
  : [Exclude<Value, NotJson>] extends [never] ? never
  : Optional;

type Flat<T> = { [Key in keyof T]: T[Key] };

/**
 * `unknown` for a type that has JSON. For one that has none, a type that nothing can be assigned to, whose name
 * says why. The compiler shows that name where a method is registered.
 *
 * @typeParam T The type of a result.
 */
export type Sendable<T> = [T] extends [Plain] ? unknown : Checked<T>;

// Most results fit, and the compiler finds that out without making a type for each member.
type Plain = Scalar | undefined | void | readonly Plain[] | { readonly [key: string]: Plain };

type Checked<T> = unknown extends T ? unknown
  : T extends Scalar | undefined | void ? unknown
  : T extends Finished ? unknown
  : T extends bigint ? NoJson<"a bigint has no JSON: return a string or a number">
  : T extends readonly (infer Item)[] ? readonly Checked<Item>[]
  : T extends PromiseLike<infer Value> ? PromiseLike<Checked<Value>>
  // deno-lint-ignore ban-types -- every function
  : T extends Function ? NoJson<"a function has no JSON">
  : T extends object ? { readonly [Key in keyof T]: CheckedMember<T[Key]> }
  : NoJson<"a symbol has no JSON">;

// deno-lint-ignore no-explicit-any -- toJSON may take the key
type Finished = { toJSON(key?: any): unknown };

type CheckedMember<T> = T extends Scalar | NotJson ? unknown : Checked<T>;

type Sent<T> = T & Sendable<T>;

/** `unknown` for a record of methods whose results have JSON; see {@linkcode Sendable}. */
export type SendableGroup<Group> = {
  readonly [Name in keyof Group]: Group[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Sent<Awaited<Result>> | Promise<Sent<Awaited<Result>>>
    : unknown;
};

/** Nothing can be assigned to it: `Reason` is for people. */
export interface NoJson<Reason extends string> {
  /** Never set. */
  readonly "~reason": Reason;
}
