/**
 * A value that a JSON Schema accepts, always the same one.
 *
 * @module
 */

/** A JSON Schema; its members depend on its kind. */
export type SampleSchema = boolean | { readonly [name: string]: unknown };

/**
 * Makes a value out of a schema: its `const`, `default` or first example if it names one, and otherwise
 * the plainest value of its type. Patterns of texts are not looked at.
 *
 * @param schema The schema.
 * @param resolve Follows a reference of the schema.
 * @param depth How deep the value stands within the whole; recursive schemas end at some depth.
 * @returns The value.
 */
export function sample(
  schema: SampleSchema,
  resolve: (ref: string) => SampleSchema,
  depth = 0,
): unknown {
  if (depth === 0) valuesLeft = MAX_VALUES;
  if (--valuesLeft < 0) throw new RangeError(`A value for the schema has over ${MAX_VALUES} parts`);
  if (typeof schema === "boolean") return null;
  const { $ref, examples, anyOf, oneOf, allOf } = schema;
  if (typeof $ref === "string") return depth > MAX_DEPTH ? null : again(resolve($ref), 1);
  if ("const" in schema) return schema.const;
  if ("default" in schema) return schema.default;
  if (Array.isArray(examples) && examples.length > 0) return examples[0];
  if (Array.isArray(schema.enum) && schema.enum.length > 0) return schema.enum[0];
  if (Array.isArray(allOf)) {
    return depth > MAX_DEPTH ? null : again(merged(schema, allOf as SampleSchema[], resolve), 1);
  }
  const [first] = [anyOf, oneOf].flatMap((each) => each ?? []) as SampleSchema[];
  if (first !== undefined) return again(first);
  return ofType(schema, again, depth);

  function again(inner: SampleSchema, deeper = 0): unknown {
    return sample(inner, resolve, depth + deeper);
  }
}

type Members = { readonly [name: string]: unknown };
type Again = (schema: SampleSchema, deeper: number) => unknown;

function ofType(schema: Members, again: Again, depth: number): unknown {
  switch (typeOf(schema)) {
    case "object":
      return ofObject(schema, again, depth);
    case "array":
      return ofArray(schema, again, depth);
    case "string":
      return ofString(schema);
    case "number":
    case "integer":
      return ofNumber(schema);
    case "boolean":
      return true;
    default:
      return null;
  }
}

function typeOf({ type, properties, items, prefixItems }: Members): unknown {
  const types = [type ?? []].flat();
  if (types.length > 0) return types.find((each) => each !== "null") ?? "null";
  if (properties !== undefined) return "object";
  return items !== undefined || prefixItems !== undefined ? "array" : "null";
}

function ofObject({ properties = {}, required = [] }: Members, again: Again, depth: number) {
  // Where a recursive schema may end, it ends.
  const members = Object.entries(properties as Record<string, SampleSchema>)
    .filter(([name]) => depth < MAX_DEPTH || (required as string[]).includes(name));
  return Object.fromEntries(members.map(([name, schema]) => [name, again(schema, 1)]));
}

function ofArray(schema: Members, again: Again, depth: number): unknown[] {
  const { items, prefixItems, minItems = 0, maxItems = Infinity } = schema;
  const tuple = Array.isArray(items) ? items : prefixItems ?? [];
  const values = (tuple as SampleSchema[]).map((item) => again(item, 1));
  const rest = Array.isArray(items) ? schema.additionalItems : items;
  if (rest === undefined || rest === false) return values;
  const wanted = depth < MAX_DEPTH ? Math.max(Number(minItems), 1) : Number(minItems);
  const length = Math.min(wanted, Number(maxItems));
  while (values.length < length) values.push(again(rest as SampleSchema, 1));
  return values;
}

function ofString({ format, minLength = 0, maxLength = Infinity }: Members): string {
  const text = FORMATS[String(format)] ?? "text";
  if (Number(minLength) > MAX_LENGTH) throw new RangeError(`Over ${MAX_LENGTH} characters`);
  return text.padEnd(Number(minLength), "x").slice(0, Number(maxLength));
}

function ofNumber(schema: Members): number {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  const step = typeof multipleOf === "number" ? multipleOf : 1;
  const numbers = [minimum, exclusiveMinimum].filter((each) => typeof each === "number");
  const lowest = numbers.length > 0 ? Math.max(...numbers) : -Infinity;
  const fits = (value: number): boolean =>
    value >= lowest && value !== exclusiveMinimum &&
    value <= Number(maximum ?? Infinity) && value < Number(exclusiveMaximum ?? Infinity);
  if (fits(step)) return step;
  const start = lowest === -Infinity ? Number(maximum ?? exclusiveMaximum) : lowest;
  const near = [Math.ceil(start / step) * step, (Math.ceil(start / step) + 1) * step];
  return [...near, (Math.floor(start / step) - 1) * step, start + step / 2].find(fits) ?? start;
}

/** The parts of `allOf` as one schema: their members side by side, and their properties together. */
function merged(
  schema: Members,
  parts: readonly SampleSchema[],
  resolve: (ref: string) => SampleSchema,
): SampleSchema {
  const { allOf: _, ...own } = schema;
  let whole: Members = own;
  for (const part of parts) {
    const resolved = typeof part === "object" && typeof part.$ref === "string"
      ? resolve(part.$ref)
      : part;
    if (typeof resolved === "boolean") continue;
    const both = { ...whole, ...resolved };
    const properties = { ...whole.properties as object, ...resolved.properties as object };
    const required = [whole.required ?? [], resolved.required ?? []].flat();
    whole = Object.keys(properties).length > 0 ? { ...both, properties, required } : both;
  }
  return whole;
}

const MAX_DEPTH = 4;
// A document may come from anywhere, and ask for more than the memory holds.
const MAX_VALUES = 100_000;
const MAX_LENGTH = 1_000_000;
// Not an argument: making a value is synchronous.
let valuesLeft = 0;

const FORMATS: Readonly<Record<string, string>> = {
  "date": "2000-01-01",
  "date-time": "2000-01-01T00:00:00Z",
  "email": "someone@example.com",
  "hostname": "example.com",
  "ipv4": "127.0.0.1",
  "ipv6": "::1",
  "time": "00:00:00Z",
  "uri": "https://example.com/",
  "url": "https://example.com/",
  "uuid": "00000000-0000-4000-8000-000000000000",
};
