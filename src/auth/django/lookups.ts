/**
 * Conditions in Django's spelling, as in `{ price__lt: 10 }`, as SQL.
 *
 * @see {@link https://docs.djangoproject.com/en/stable/ref/models/querysets/#field-lookups | Django: field lookups}
 *
 * @module
 */

import { RpcInvalidParamsError } from "../../protocol/errors.ts";
import type { Param } from "./database.ts";

/** A condition: SQL with a `?` for each value. */
export interface Condition {
  /** The condition; empty if every row fits. */
  readonly sql: string;
  /** The values. */
  readonly params: readonly Param[];
}

/**
 * Makes a condition of a caller's lookups, all of which must hold.
 *
 * @param lookups Values by `FIELD` or `FIELD__LOOKUP`: `exact`, `in`, `gt`, `gte`, `lt`, `lte`,
 * `contains`, `startswith`, `endswith` and `isnull`.
 * @param columns The quoted columns, by the names that callers may use. No other name gets into SQL.
 * @returns The condition.
 * @throws {RpcInvalidParamsError} If a field or lookup is unknown, or a value does not fit it.
 */
export function conditionOf(
  lookups: Readonly<Record<string, unknown>>,
  columns: ReadonlyMap<string, string>,
): Condition {
  const parts: string[] = [];
  const params: Param[] = [];
  for (const [key, value] of Object.entries(lookups)) {
    const { column, lookup } = parse(key, columns);
    const part = lookup(column, value, key);
    parts.push(part.sql);
    params.push(...part.params);
  }
  return { sql: parts.join(" AND "), params };
}

type Lookup = (column: string, value: unknown, key: string) => Condition;

// Databases bound the number of params of a statement; SQLite's bound was 999.
const MAX_VALUES = 500;

const LOOKUPS: ReadonlyMap<string, Lookup> = new Map<string, Lookup>([
  [
    "exact",
    (column, value, key) =>
      value === null
        ? { sql: `${column} IS NULL`, params: [] }
        : { sql: `${column} = ?`, params: [scalar(value, key)] },
  ],
  ["gt", comparison(">")],
  ["gte", comparison(">=")],
  ["lt", comparison("<")],
  ["lte", comparison("<=")],
  ["contains", pattern((text) => `%${text}%`)],
  ["startswith", pattern((text) => `${text}%`)],
  ["endswith", pattern((text) => `%${text}`)],
  ["in", (column, value, key) => {
    if (!Array.isArray(value) || value.length > MAX_VALUES) {
      throw invalid(`Expected ${key} to be a list of at most ${MAX_VALUES} values`);
    }
    if (value.length === 0) return { sql: "1 = 0", params: [] };
    const params = value.map((each) => scalar(each, key));
    return { sql: `${column} IN (${params.map(() => "?").join(", ")})`, params };
  }],
  ["isnull", (column, value, key) => {
    if (typeof value !== "boolean") throw invalid(`Expected ${key} to be a boolean`);
    return { sql: `${column} IS ${value ? "" : "NOT "}NULL`, params: [] };
  }],
]);

function parse(
  key: string,
  columns: ReadonlyMap<string, string>,
): { column: string; lookup: Lookup } {
  const separator = key.lastIndexOf("__");
  const [field, name] = columns.has(key) || separator === -1
    ? [key, "exact"]
    : [key.slice(0, separator), key.slice(separator + 2)];
  const column = columns.get(field);
  const lookup = LOOKUPS.get(name);
  if (column !== undefined && lookup !== undefined) return { column, lookup };
  throw invalid(`Unknown field or lookup ${JSON.stringify(key.slice(0, 64))}`);
}

function comparison(operator: string): Lookup {
  return (column, value, key) => ({
    sql: `${column} ${operator} ?`,
    params: [scalar(value, key)],
  });
}

/** Matches text. The wildcards in the caller's text stand for themselves. */
function pattern(around: (text: string) => string): Lookup {
  return (column, value, key) => {
    if (typeof value !== "string") throw invalid(`Expected ${key} to be a string`);
    const text = value.replace(/[!%_]/g, (wildcard) => `!${wildcard}`);
    return { sql: `${column} LIKE ? ESCAPE '!'`, params: [around(text)] };
  };
}

function scalar(value: unknown, key: string): Param {
  if (["string", "number", "boolean"].includes(typeof value)) return value as Param;
  throw invalid(`Expected ${key} to be a string, a number or a boolean`);
}

function invalid(data: string): RpcInvalidParamsError {
  return new RpcInvalidParamsError({ data });
}
