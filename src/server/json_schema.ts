/**
 * JSON Schemas of one part of an OpenRPC document: what they define is moved to where the document has its schemas.
 *
 * @module
 */

import { jsonSchemaOf } from "../core/schema.ts";
import type { Schema } from "../core/schema.ts";

/** A JSON Schema; its members depend on its kind. */
export type JsonSchema = { readonly [name: string]: unknown };

/** Collects the definitions that the schemas of one part refer to. */
export class Definitions {
  readonly #owner: string;
  readonly #all: Record<string, JsonSchema> = {};

  /** @param owner The name of the part, with which the names of its definitions begin. */
  constructor(owner: string) {
    this.#owner = owner;
  }

  /** The definitions by name, for `components.schemas`. */
  get all(): Readonly<Record<string, JsonSchema>> {
    return this.#all;
  }

  /**
   * Generates the JSON Schema of a schema.
   *
   * @param role What the schema describes.
   * @param schema The schema.
   * @returns Its JSON Schema, which refers to {@linkcode Definitions.all}; `{}` if there is none.
   */
  add(role: string, schema: Schema | undefined): JsonSchema {
    const root = (schema && jsonSchemaOf(schema)) as JsonSchema | undefined;
    if (root === undefined) return {};
    const { $schema: _, definitions, $defs, ...rest } = root;
    const prefix = toName(`${this.#owner}_${role}`);
    let refersToRoot = false;
    const move = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(move);
      if (typeof value !== "object" || value === null) return value;
      const moved = Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [name, move(inner)]),
      );
      const match = /^#(?:\/(?:definitions|\$defs)\/(.+))?$/.exec(String(moved.$ref));
      if (match === null) return moved;
      const [, name] = match;
      if (name === undefined) refersToRoot = true;
      const target = name === undefined ? prefix : `${prefix}_${toName(name)}`;
      return { ...moved, $ref: `#/components/schemas/${target}` };
    };
    for (const [name, inner] of Object.entries({ ...definitions as object, ...$defs as object })) {
      this.#all[`${prefix}_${toName(name)}`] = move(inner) as JsonSchema;
    }
    const moved = move(rest) as JsonSchema;
    if (refersToRoot) this.#all[prefix] = moved;
    return moved;
  }
}

/** The names of components may hold letters, digits, `-` and `_` alone. */
function toName(name: string): string {
  return name.replaceAll(/[^\w-]/g, "_");
}
