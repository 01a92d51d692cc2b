/**
 * The users of a Django site, with their permissions.
 *
 * @module
 */

import { identifier, isTrue } from "./database.ts";
import type { Database, DjangoTables, Row } from "./database.ts";

/** A user of a Django site. */
export interface DjangoUser {
  /** The primary key, as text. */
  readonly id: string;
  /** The user's name: the column `username`, or the one of the option `usernameField`. */
  readonly name: string;
  /** The email address; empty if the site has none. */
  readonly email: string;
  /** Whether the account may be used. A user who is not active never gets here. */
  readonly isActive: boolean;
  /** Whether the user may open the admin site. */
  readonly isStaff: boolean;
  /** Whether the user has every permission. */
  readonly superuser: boolean;
  /** The user's own permissions and those of the groups, as `app_label.codename`. */
  readonly permissions: ReadonlySet<string>;
}

/** A user, and the column of the password, which stays on the server. */
export interface DjangoAccount {
  /** The user. */
  readonly user: DjangoUser;
  /** The encoded password, as in the table. */
  readonly password: string;
}

/** How users are found. */
export interface UsersOptions {
  /** The site's database. */
  readonly database: Database;
  /** `AUTH_USER_MODEL`. */
  readonly userModel: string;
  /** The user model's `USERNAME_FIELD`. */
  readonly usernameField: string;
  /** Names of tables that differ. */
  readonly tables: DjangoTables;
}

/** Reads users and permissions. */
export class DjangoUsers {
  readonly #database: Database;
  readonly #usernameField: string;
  readonly #select: string;
  readonly #permissions: string;

  /**
   * @param options How users are found.
   * @throws {TypeError} If a name is not a plain name.
   */
  constructor(options: UsersOptions) {
    const { database, usernameField } = options;
    this.#database = database;
    this.#usernameField = usernameField;
    const names = tableNames(options);
    this.#select = `SELECT * FROM ${identifier(names.user)}`;
    this.#permissions = permissionsSql(names);
    identifier(usernameField);
  }

  /**
   * Finds a user by primary key.
   *
   * @param id The primary key, as a session has it.
   * @returns The account, or `undefined` if there is no such user or the user is not active.
   */
  async find(id: string): Promise<DjangoAccount | undefined> {
    const sql = `${this.#select} WHERE "id" = ?`;
    let [row] = await this.#database.run(sql, [id]);
    // Databases without a type for UUIDs hold them without dashes.
    if (row === undefined && UUID.test(id)) {
      [row] = await this.#database.run(sql, [id.replaceAll("-", "")]);
    }
    return row === undefined ? undefined : await this.#toAccount(row, id);
  }

  /**
   * Finds a user by name.
   *
   * @param name The name, as the user has typed it.
   * @returns The account, or `undefined` if there is no such user or the user is not active.
   */
  async findByName(name: string): Promise<DjangoAccount | undefined> {
    // PostgreSQL throws for this character, and Django's login form refuses it.
    if (name.includes("\0")) return undefined;
    const sql = `${this.#select} WHERE ${identifier(this.#usernameField)} = ?`;
    const [row] = await this.#database.run(sql, [name]);
    return row === undefined ? undefined : await this.#toAccount(row, String(row["id"]));
  }

  /** The encoded password of some user: what an average password of this site costs. */
  async samplePassword(): Promise<string | undefined> {
    const sql = `${this.#select} WHERE "password" LIKE ? ORDER BY "id" DESC LIMIT 1`;
    const [row] = await this.#database.run(sql, ["%$%"]);
    return row && String(row["password"]);
  }

  async #toAccount(row: Row, id: string): Promise<DjangoAccount | undefined> {
    // A user model without the column has active users only, as in Django.
    if (row["is_active"] !== undefined && !isTrue(row["is_active"])) return undefined;
    const key = row["id"] as string | number;
    const permissions = await this.#database.run(this.#permissions, [key, key]);
    const user = {
      id,
      name: String(row[this.#usernameField]),
      email: String(row["email"] ?? ""),
      isActive: true,
      isStaff: isTrue(row["is_staff"]),
      superuser: isTrue(row["is_superuser"]),
      permissions: new Set(permissions.map((each) => `${each["app_label"]}.${each["codename"]}`)),
    };
    return { user: Object.freeze(user), password: String(row["password"]) };
  }
}

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

type TableNames = Required<Omit<DjangoTables, "session">> & { readonly userColumn: string };

/** The names that Django gives to the tables of a user model. */
function tableNames({ userModel, tables }: UsersOptions): TableNames {
  const [, app, model] = /^(\w+)\.(\w+)$/.exec(userModel) ?? [];
  if (app === undefined || model === undefined) {
    throw new TypeError(`Expected \`userModel\` to be as "app.Model", got "${userModel}"`);
  }
  const column = model.toLowerCase();
  const user = tables.user ?? `${app}_${column}`;
  return {
    userPermissions: `${user}_user_permissions`,
    userGroups: `${user}_groups`,
    groupPermissions: "auth_group_permissions",
    permission: "auth_permission",
    contentType: "django_content_type",
    ...tables,
    user,
    userColumn: `${column}_id`,
  };
}

function permissionsSql(names: TableNames): string {
  const userColumn = identifier(names.userColumn);
  const own = `SELECT "permission_id" FROM ${identifier(names.userPermissions)}` +
    ` WHERE ${userColumn} = ?`;
  const ofGroups = `SELECT gp."permission_id" FROM ${identifier(names.groupPermissions)} gp` +
    ` JOIN ${identifier(names.userGroups)} ug ON ug."group_id" = gp."group_id"` +
    ` WHERE ug.${userColumn} = ?`;
  return `SELECT ct."app_label", p."codename" FROM ${identifier(names.permission)} p` +
    ` JOIN ${identifier(names.contentType)} ct ON ct."id" = p."content_type_id"` +
    ` WHERE p."id" IN (${own}) OR p."id" IN (${ofGroups})`;
}
