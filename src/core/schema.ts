/**
 * Standard Schema: the one interface of zod, valibot, arktype and others, and what this module reads
 * from it.
 *
 * @see {@link https://standardschema.dev}
 *
 * @module
 */

import { mapMaybe } from "../util/maybe_promise.ts";

/**
 * A schema of any library that implements Standard Schema, version 1: zod, valibot, arktype and others.
 *
 * @typeParam Output The type of a value after validation.
 * @typeParam Input The type of a value before validation.
 */
export interface Schema<Output = unknown, Input = unknown> {
  /** The one member that Standard Schema defines. */
  readonly "~standard": {
    /** The version of Standard Schema. */
    readonly version: 1;
    /** The name of the library. */
    readonly vendor: string;
    /** Validates a value. Returns the output value, or the issues. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** The types of input and output. Libraries never set it. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/**
 * Refuses what is no Standard Schema, such as a plain JSON Schema, at the start: else each call would fail.
 *
 * @param action What cannot be done with another, as the error says it.
 * @param schemas The schemas by the name of their option.
 * @throws {TypeError} If one is no Standard Schema.
 */
export function checkSchemas(action: string, schemas: Readonly<Record<string, unknown>>): void {
  for (const [option, schema] of Object.entries(schemas)) {
    if (schema === undefined || typeof (schema as Schema)?.["~standard"]?.validate === "function") {
      continue;
    }
    throw new TypeError(`Cannot ${action}: its \`${option}\` is no Standard Schema`);
  }
}

/** The types of a schema's input and output. */
export type SchemaTypes<S> = S extends Schema ? NonNullable<S["~standard"]["types"]>
  : { readonly input: unknown; readonly output: unknown };

/** The outcome of a validation: a value or issues. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  /** A text that says what is wrong. */
  readonly message: string;
  /** The keys that lead to the wrong part, outermost first. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * Makes a schema that accepts every value. It only gives the value a type.
 *
 * @typeParam T The type of the value.
 * @returns The schema.
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
 * Validates a value.
 *
 * @param schema The schema.
 * @param value The value.
 * @param toFailure Makes the error that is thrown if the value does not fit.
 * @returns The output of the schema; a promise only if the schema is asynchronous.
 */
export function validate<T>(
  schema: Schema<T>,
  value: unknown,
  toFailure: (issues: readonly PlainIssue[]) => Error,
): T | Promise<T> {
  function take(result: SchemaResult<T>): T {
    if (result.issues !== undefined) throw toFailure(plainIssues(result.issues));
    // Without `strictNullChecks`, the line above does not tell the two apart.
    return (result as { readonly value: T }).value;
  }
  // A promise of another realm or library counts too: taken as a result, it would let any value pass.
  return mapMaybe(schema["~standard"].validate(value), take);
}

/** A {@linkcode SchemaIssue} that has JSON. */
export interface PlainIssue {
  /** A text that says what is wrong. */
  readonly message: string;
  /** The keys that lead to the wrong part, outermost first. */
  readonly path: readonly (string | number)[];
}

/**
 * Lists the properties of an object schema, in their order.
 *
 * @param schema The schema.
 * @returns Their names: from zod's and valibot's own records, or from the JSON Schema that newer
 * libraries generate. `undefined` if the schema shows neither.
 */
export function propertyNames(schema: Schema): readonly string[] | undefined {
  const { shape, entries } = schema as { shape?: unknown; entries?: unknown };
  for (const record of [shape, entries, jsonSchemaOf(schema)?.properties]) {
    if (typeof record === "object" && record !== null) return Object.keys(record);
  }
  return undefined;
}

/**
 * Generates JSON Schema.
 *
 * @param schema The schema.
 * @returns The JSON Schema, or `undefined` if the library cannot generate one.
 */
export function jsonSchemaOf(schema: Schema): { readonly properties?: unknown } | undefined {
  const { jsonSchema } = schema["~standard"] as {
    jsonSchema?: { input?(options: { target: string }): object };
  };
  try {
    return jsonSchema?.input?.({ target: "draft-07" });
  } catch {
    // Libraries throw if a schema has no JSON Schema, such as a zod transform.
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

/** The first issues. A value may have hundreds of thousands, and a library may make each text on read. */
function plainIssues(issues: readonly SchemaIssue[]): PlainIssue[] {
  const plain: PlainIssue[] = [];
  // Not `slice`, which makes an instance of the library's own subclass of Array.
  for (let index = 0; index < issues.length && index < MAX_ISSUES; index++) {
    plain.push(toPlain(issues[index] as SchemaIssue));
  }
  return plain;
}

const MAX_ISSUES = 20;

function toPlain({ message, path = [] }: SchemaIssue): PlainIssue {
  const keys = path.map((step) => typeof step === "object" ? step.key : step);
  return { message, path: keys.map((key) => typeof key === "symbol" ? String(key) : key) };
}
