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
export type Json<T> = unknown extends T ? T : [T] extends [Parsed] ? T : JsonValue<T>;

// What JSON does not change stays as it is, also types of any depth, and keeps its name.
type Parsed = Scalar | readonly Parsed[] | { readonly [key: string]: Parsed };

type JsonValue<T> = T extends Scalar ? T
  : T extends undefined | void ? null
  // deno-lint-ignore no-explicit-any -- toJSON may take the key
  : T extends { toJSON(key?: any): infer Value } ? Json<Value>
  : T extends readonly unknown[] ? { [Index in keyof T]: Json<T[Index]> }
  : T extends NotJson ? null
  // The server collects the items of a stream.
  : T extends AsyncIterable<infer Item> ? Json<Item>[]
  // In TypeScript 5 without `dom.asynciterable`, it is no AsyncIterable.
  : T extends ReadableStream<infer Item> ? Json<Item>[]
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
  // Not `Flat<…>`, which editors and errors would show in place of the members.
  : (
    & { [Key in keyof T as Kept<T[Key], Key, never>]: Json<T[Key]> }
    & { [Key in keyof T as Kept<T[Key], never, Key>]?: Json<Exclude<T[Key], NotJson>> }
  ) extends infer Members ? { [Key in keyof Members]: Members[Key] }
  : never;

type AllRequired<T> = true extends { [Key in keyof T]-?: MayVanish<T[Key]> }[keyof T] ? false
  : true;

type MayVanish<Value> = unknown extends Value ? false
  : [Extract<Value, NotJson>] extends [never] ? false
  : true;

type Kept<Value, Required, Optional> = MayVanish<Value> extends false ? Required
  : [Exclude<Value, NotJson>] extends [never] ? never
  : Optional;

/** The members of an intersection in one type. */
export type Flat<T> = { [Key in keyof T]: T[Key] };

/**
 * `unknown` for a type that has JSON. For one that has none, a type that it cannot be assigned to, whose name says why.
 * The compiler shows that name where a topic is registered.
 *
 * @typeParam T The type of an event, or of an item of a stream.
 */
export type Sendable<T> = [T] extends [Plain] ? unknown
  : [T] extends [infer Value] ? [Value] extends [Checked<Value>] ? unknown : Checked<Value>
  : never;

/**
 * What a handler returns: a result or a promise of it. If the result has no JSON, it cannot be assigned to this type;
 * see {@linkcode Sendable}.
 *
 * @typeParam Result The type that the handler returns: a promise, for an async one.
 */
// The compiler infers `Result` as it is, so that a handler may return promises of one type and values of another. It
// would not from `Result & …`, nor in a branch of `[Result] extends [Plain]`, where it takes `Result` for
// `Result & Plain`. And it infers nothing from the check, which gives other types than `Result`.
export type Returned<Result> = [Result, 0] extends [Plain | Promise<Plain>, 0] ? Result
  : CheckedReturn<Result>;

type CheckedReturn<Result> = [Awaited<Result>] extends [infer T]
  ? [T] extends [Checked<T>] ? Result : Checked<T> | Promise<Checked<T>>
  : never;

// Most results fit, and the compiler finds that out without making a type for each member.
type Plain = Scalar | undefined | void | readonly Plain[] | { readonly [key: string]: Plain };

// Each branch gives something narrower than `unknown`, which would swallow the other members of a union.
type Checked<T> = unknown extends T ? T
  : T extends Scalar | undefined | void | Opaque ? T
  : T extends bigint ? NoJson<"a bigint has no JSON: return a string or a number">
  // deno-lint-ignore no-explicit-any -- toJSON may take the key
  : T extends { toJSON(key?: any): infer Value } ? { toJSON(key?: never): Checked<Value> }
  : T extends readonly unknown[] ? { readonly [Index in keyof T]: CheckedMember<T[Index]> }
  : T extends AsyncIterable<infer Item> ? AsyncIterable<Checked<Item>>
  : T extends ReadableStream<infer Item> ? ReadableStream<Checked<Item>>
  : T extends Generator ? NoJson<"a generator has no JSON: write async function*">
  // deno-lint-ignore ban-types -- every function
  : T extends Function ? NoJson<"a function has no JSON">
  : T extends object ? { readonly [Key in keyof T]: CheckedMember<T[Key]> }
  : NoJson<"a symbol has no JSON">;

type CheckedMember<T> = unknown extends T ? T : T extends NotJson ? T : Checked<T>;

interface MethodLike {
  readonly "~method": unknown;
}

/** `unknown` for a record whose functions, and those of the records in it, have results with JSON. */
export type SendableGroup<Group> = [Group] extends [Defined] ? unknown : CheckedGroup<Group>;

// Large records hold nothing else, and `method()` has checked them.
type Defined = MethodLike | { readonly [name: string]: Defined };

/** The names of a record that are not offered to clients. */
export type HiddenName = `_${string}` | "default";

type CheckedGroup<Group> = {
  readonly [Name in keyof Group]: Name extends HiddenName ? unknown
    : Group[Name] extends (...args: infer Args) => infer Result
      ? (...args: Args) => Checked<Awaited<Result>> | Promise<Checked<Awaited<Result>>>
    : Group[Name] extends MethodLike ? unknown
    : Group[Name] extends { readonly [name: string]: unknown } ? CheckedGroup<Group[Name]>
    : unknown;
};

/** Nothing can be assigned to it: `Reason` is for people. */
export interface NoJson<Reason extends string> {
  /** Never set. */
  readonly "~reason": Reason;
}
