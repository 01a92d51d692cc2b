/**
 * The database of a Django site: the user's own access to it, the names of its tables, and SQL in its
 * dialect.
 *
 * @module
 */

/** A row: values by the names of their columns. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * Runs one SQL statement.
 *
 * @param sql The statement, with placeholders for the params.
 * @param params Strings, numbers and `null`; with PostgreSQL booleans, too.
 * @returns The rows. What it gives for `UPDATE` and `DELETE` is ignored.
 */
export type Query = (
  sql: string,
  params: readonly (string | number | boolean | null)[],
) => Iterable<unknown> | PromiseLike<Iterable<unknown>>;

/** Which SQL a database understands. */
export type Dialect = "sqlite" | "postgres" | "mysql";

/** The names of Django's tables. */
export interface DjangoTables {
  /** Sessions. @default {"django_session"} */
  readonly session?: string;
  /** Users. @default {made from `userModel`: "auth_user"} */
  readonly user?: string;
  /** Which user has which permission. @default {"auth_user_user_permissions"} */
  readonly userPermissions?: string;
  /** Which user is in which group. @default {"auth_user_groups"} */
  readonly userGroups?: string;
  /** Which group has which permission. @default {"auth_group_permissions"} */
  readonly groupPermissions?: string;
  /** Permissions. @default {"auth_permission"} */
  readonly permission?: string;
  /** Models. @default {"django_content_type"} */
  readonly contentType?: string;
}

/** A value of a statement. */
export type Param = string | number | boolean | null;

/** Runs statements. The text of a statement never contains a value. */
export class Database {
  readonly #query: Query;
  readonly #dialect: Dialect;

  /**
   * @param query Runs one statement.
   * @param dialect What the database understands.
   */
  constructor(query: Query, dialect: Dialect) {
    this.#query = query;
    this.#dialect = dialect;
  }

  /** Whether the database takes booleans; the others have 1 and 0. */
  get hasBooleans(): boolean {
    return this.#dialect === "postgres";
  }

  /**
   * Runs a statement that gives rows.
   *
   * @param sql The statement: identifiers in double quotes, a `?` for each param. It contains no other
   * double quotes and question marks.
   * @param params The values.
   * @returns The rows. Rejects with what the query throws, and with a {@linkcode TypeError} if the
   * query gives no list.
   */
  async run(sql: string, params: readonly Param[]): Promise<Row[]> {
    const rows: unknown = await this.#send(sql, params);
    if (typeof rows === "object" && rows !== null && Symbol.iterator in rows) {
      return [...rows as Iterable<Row>];
    }
    throw new TypeError(
      `Expected \`query\` to give a list of rows, got a value of type ${typeof rows}`,
    );
  }

  /**
   * Runs a statement that gives no rows. What the query gives is ignored: some drivers have no list
   * then, but a record of what was written.
   *
   * @param sql The statement, as for {@linkcode run}.
   * @param params The values.
   */
  async execute(sql: string, params: readonly Param[]): Promise<void> {
    await this.#send(sql, params);
  }

  #send(sql: string, params: readonly Param[]): ReturnType<Query> {
    const values = params.map((param) =>
      typeof param === "boolean" && !this.hasBooleans ? Number(param) : param
    );
    return this.#query(this.#translate(sql), values);
  }

  #translate(sql: string): string {
    if (this.#dialect === "mysql") return sql.replaceAll('"', "`");
    if (this.#dialect !== "postgres") return sql;
    let count = 0;
    return sql.replaceAll("?", () => `$${++count}`);
  }
}

/**
 * Puts an identifier in quotes.
 *
 * @param name The name of a table or column, from the program's own options.
 * @returns The quoted name.
 * @throws {TypeError} If it is not a plain name.
 */
export function identifier(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) return `"${name}"`;
  throw new TypeError(`Expected the name of a table or column, got ${JSON.stringify(name)}`);
}

/** Whether a column holds true, in whatever form the driver gives it. */
export function isTrue(value: unknown): boolean {
  return value === true || value === 1 || value === 1n;
}
