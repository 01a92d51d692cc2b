/**
 * Descriptions of values, by the Standard Schema interface that zod, valibot, arktype and others
 * share.
 *
 * @see {@link https://standardschema.dev}
 *
 * @module
 */

/**
 * A schema of any library that speaks Standard Schema, version 1.
 *
 * @typeParam Output What it gives.
 * @typeParam Input What it takes.
 */
export interface Schema<Output = unknown, Input = unknown> {
  /** The interface's one member. */
  readonly "~standard": {
    /** The interface's version. */
    readonly version: 1;
    /** Which library it is. */
    readonly vendor: string;
    /** Gives the value, perhaps changed, or what is wrong with it. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Only a type: what goes in and what comes out. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
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
 * rpc.publish("clock", "12:00");
 * ```
 */
export function type<T>(): Schema<T, T> {
  return PASS as Schema<T, T>;
}

/**
 * Checks a value against a schema.
 *
 * @param refuse Makes the error of a value that does not fit.
 * @returns The value, as the schema gives it; a promise only where the schema gave one.
 */
export function validate<T>(
  schema: Schema<T>,
  value: unknown,
  refuse: (issues: readonly PlainIssue[]) => Error,
): T | Promise<T> {
  function take(result: SchemaResult<T>): T {
    if (result.issues === undefined) return result.value;
    throw refuse(result.issues.map(toPlain));
  }
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then(take) : take(result);
}

/** One thing that is wrong with a value, as JSON. */
export interface PlainIssue {
  /** What is wrong, in words. */
  readonly message: string;
  /** Where, from the outside in. */
  readonly path: readonly (string | number)[];
}

/**
 * The names of an object's properties, in their order, where the schema tells: by the JSON Schema
 * that newer libraries give, or by zod's and valibot's own records.
 */
export function propertyNames(schema: Schema): readonly string[] | undefined {
  const { shape, entries } = schema as { shape?: unknown; entries?: unknown };
  for (const record of [shape, entries, jsonSchemaOf(schema)?.properties]) {
    if (typeof record === "object" && record !== null) return Object.keys(record);
  }
  return undefined;
}

/** The schema as JSON Schema, where its library can say it so. */
export function jsonSchemaOf(schema: Schema): { readonly properties?: unknown } | undefined {
  const { jsonSchema } = schema["~standard"] as {
    jsonSchema?: { input?(options: { target: string }): object };
  };
  try {
    return jsonSchema?.input?.({ target: "draft-07" });
  } catch {
    // Not every schema has a JSON Schema.
    return undefined;
  }
}

const PASS: Schema<unknown> = Object.freeze({
  "~standard": Object.freeze({
    version: 1,
    vendor: "@x/jsonrpc",
    validate: (value: unknown) => ({ value }),
  }),
});

function toPlain({ message, path = [] }: SchemaIssue): PlainIssue {
  const keys = path.map((step) => typeof step === "object" ? step.key : step);
  return { message, path: keys.map((key) => typeof key === "symbol" ? String(key) : key) };
}
