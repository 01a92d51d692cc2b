/**
 * Methods that read and write rows of a Django site's models, each for users with that permission:
 * the generic model methods of aiohttp-json-rpc.
 *
 * @module
 */

import type { PluginMethod } from "../../core/plugin.ts";
import type { RpcRequest } from "../../core/request.ts";
import { describeError, RpcInvalidParamsError } from "../../protocol/errors.ts";
import type { Logger } from "../../util/logger.ts";
import { permissionRequired } from "../guards.ts";
import { identifier } from "./database.ts";
import type { Database, Param, Row } from "./database.ts";
import { conditionOf } from "./lookups.ts";

/** A model whose rows clients may read or write. */
export interface DjangoModel {
  /** The app's label, as in `shop`. */
  readonly app: string;
  /** The model's name in lower case, as in `item`. */
  readonly model: string;
  /**
   * The columns that clients may see and set, beside the primary key. A column that is not listed
   * does not exist for them.
   */
  readonly fields: readonly string[];
  /** The table. @default {app and model: "shop_item"} */
  readonly table?: string;
  /** The column of the primary key. @default {"id"} */
  readonly primaryKey?: string;
  /** Which methods there are. @default {"view" alone} */
  readonly actions?: readonly DjangoAction[];
}

/** What may be done with the rows of a model. */
export type DjangoAction = "view" | "add" | "change" | "delete";

/**
 * Makes the methods of some models: `db__APP.ACTION_MODEL`, as in `db__shop.view_item`.
 *
 * @param models The models.
 * @param database The site's database.
 * @param maxRows How many rows one call may give.
 * @returns The methods.
 * @throws {TypeError} If a model has a name that is not a plain name, or an unknown action.
 */
export function modelMethods(
  models: readonly DjangoModel[],
  database: Database,
  maxRows: number,
): Record<string, PluginMethod> {
  const methods: Record<string, PluginMethod> = {};
  for (const model of models) {
    const { app, model: name, actions = ["view"] } = model;
    const rows = new ModelRows(model, database, maxRows);
    for (const action of actions) {
      const permission = `${app}.${action}_${name}`;
      methods[`db__${permission}`] = {
        use: [permissionRequired(permission)],
        handler: rows.handler(action),
      };
    }
  }
  return methods;
}

type Fields = Readonly<Record<string, unknown>>;

/** The rows of one model. Only names from the program's own list get into a statement. */
class ModelRows {
  readonly #database: Database;
  readonly #maxRows: number;
  readonly #table: string;
  readonly #columns: string;
  readonly #primaryKey: string;
  // What clients call a column, and its quoted name. `pk` is the primary key, as in Django.
  readonly #readable: ReadonlyMap<string, string>;
  readonly #writable: ReadonlyMap<string, string>;

  constructor(model: DjangoModel, database: Database, maxRows: number) {
    const { app, model: name, fields, primaryKey = "id" } = model;
    [app, name].forEach(identifier);
    this.#database = database;
    this.#maxRows = maxRows;
    this.#table = identifier(model.table ?? `${app}_${name}`);
    this.#primaryKey = identifier(primaryKey);
    this.#writable = new Map(fields.map((field) => [field, identifier(field)]));
    this.#readable = new Map([
      ...this.#writable,
      [primaryKey, this.#primaryKey],
      ["pk", this.#primaryKey],
    ]);
    const columns = [this.#primaryKey, ...this.#writable.values()];
    this.#columns = `${this.#primaryKey} AS "pk", ${[...new Set(columns)].join(", ")}`;
  }

  handler(action: DjangoAction): PluginMethod["handler"] {
    type Run = (fields: Fields, logger: Logger) => Promise<unknown>;
    const actions: Readonly<Record<DjangoAction, Run>> = {
      view: (fields, logger) => this.#view(fields, logger),
      add: (fields, logger) => this.#add(fields, logger),
      change: (fields, logger) => this.#change(fields, logger),
      delete: (fields, logger) => this.#delete(fields, logger),
    };
    const run = Object.hasOwn(actions, action) ? actions[action] : undefined;
    if (run === undefined) throw new TypeError(`Expected an action of a model, got "${action}"`);
    return (params: unknown, { connection }: RpcRequest) =>
      run(recordOf(params), connection.logger);
  }

  async #view(lookups: Fields, logger: Logger): Promise<Row[]> {
    const { sql, params } = conditionOf(lookups, this.#readable);
    const where = sql === "" ? "" : ` WHERE ${sql}`;
    const select = `SELECT ${this.#columns} FROM ${this.#table}${where}` +
      ` ORDER BY ${this.#primaryKey} LIMIT ${this.#maxRows + 1}`;
    const rows = await refusing(this.#database.run(select, params), logger);
    if (rows.length <= this.#maxRows) return rows;
    throw invalid(`Expected a narrower lookup: there are more than ${this.#maxRows} rows`);
  }

  async #add(values: Fields, logger: Logger): Promise<Row | undefined> {
    const [columns, params] = this.#assignments(values);
    const sql = `INSERT INTO ${this.#table} (${columns.join(", ")})` +
      ` VALUES (${columns.map(() => "?").join(", ")}) RETURNING ${this.#columns}`;
    const [row] = await refusing(this.#database.run(sql, params), logger);
    return row;
  }

  async #change(
    { pk, ...values }: Fields,
    logger: Logger,
  ): Promise<true> {
    const [columns, params] = this.#assignments(values);
    const condition = conditionOf({ pk }, this.#readable);
    const found = `SELECT 1 FROM ${this.#table} WHERE ${condition.sql}`;
    const rows = await refusing(this.#database.run(found, condition.params), logger);
    if (rows.length !== 1) throw invalid("There is no row with this pk");
    const assignments = columns.map((each) => `${each} = ?`).join(", ");
    const sql = `UPDATE ${this.#table} SET ${assignments} WHERE ${condition.sql}`;
    await refusing(this.#database.execute(sql, [...params, ...condition.params]), logger);
    return true;
  }

  async #delete(lookups: Fields, logger: Logger): Promise<true> {
    const { sql, params } = conditionOf(lookups, this.#readable);
    // An empty lookup means all rows: more likely a mistake than a wish.
    if (sql === "") throw invalid("Expected a lookup, as in { pk: 7 }");
    const remove = `DELETE FROM ${this.#table} WHERE ${sql}`;
    await refusing(this.#database.execute(remove, params), logger);
    return true;
  }

  #assignments(values: Fields): [columns: string[], params: Param[]] {
    const entries = Object.entries(values);
    if (entries.length === 0) throw invalid("Expected at least one field");
    const columns = entries.map(([field]) => columnOf(field, this.#writable));
    return [columns, entries.map(([field, value]) => paramOf(field, value))];
  }
}

/** Waits for a statement. If the database refuses it, that is because of the caller's values. */
async function refusing<T>(result: Promise<T>, logger: Logger): Promise<T> {
  try {
    return await result;
  } catch (error) {
    logger.warn(`The database refused a statement: ${describeError(error)}`);
    throw invalid("The database refused these values");
  }
}

function recordOf(params: unknown = {}): Fields {
  if (typeof params === "object" && params !== null && !Array.isArray(params)) {
    return params as Fields;
  }
  throw invalid("Expected an object of fields");
}

function columnOf(field: string, columns: ReadonlyMap<string, string>): string {
  const column = columns.get(field);
  if (column !== undefined) return column;
  throw invalid(`Unknown field ${JSON.stringify(field.slice(0, 64))}`);
}

function paramOf(field: string, value: unknown): Param {
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) {
    return value as Param;
  }
  throw invalid(`Expected ${field} to be a string, a number, a boolean or null`);
}

function invalid(data: string): RpcInvalidParamsError {
  return new RpcInvalidParamsError({ data });
}
