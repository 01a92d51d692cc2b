/**
 * Descriptions of values, by the Standard Schema interface that zod, valibot, arktype and others
 * share.
 *
 * @see {@link https://standardschema.dev}
 *
 * @module
 */

/** A schema of any library that speaks Standard Schema, version 1. */
export interface Schema<Output = unknown> {
  /** The interface's one member. */
  readonly "~standard": {
    /** The interface's version. */
    readonly version: 1;
    /** Which library it is. */
    readonly vendor: string;
    /** Gives the value, perhaps changed, or what is wrong with it. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Only a type: what goes in and what comes out. */
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

/** What a schema finds. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  /** What is wrong, in words. */
  readonly message: string;
  /** Where, from the outside in. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * A schema that checks nothing: it only tells the compiler what a value is.
 *
 * @typeParam T The value's type.
 *
 * @example
 * ```ts
 * import { JsonRpc, type } from "@x/jsonrpc";
 *
 * const rpc = new JsonRpc().topic("clock", { schema: type<string>() });
 * rpc.notify("clock", "12:00");
 * ```
 */
export function type<T>(): Schema<T> {
  return PASS as Schema<T>;
}

const PASS: Schema<unknown> = Object.freeze({
  "~standard": Object.freeze({
    version: 1,
    vendor: "@x/jsonrpc",
    validate: (value: unknown) => ({ value }),
  }),
});

/**
 * Checks a value against a schema that answers at once.
 *
 * @returns The value, as the schema gives it.
 * @throws {TypeError} Where it does not fit, or the schema is asynchronous.
 */
export function validateNow<T>(schema: Schema<T>, value: unknown): T {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) {
    throw new TypeError("Cannot check the value: its schema is asynchronous");
  }
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(({ message }) => message).join("; ");
  throw new TypeError(`Cannot pass the value on: it does not fit its schema (${issues})`);
}
