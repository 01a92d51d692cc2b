/**
 * The JSON Schemas of an OpenRPC document, as Standard Schemas.
 *
 * @module
 */

import { resolvePart } from "../codegen/open_rpc_document.ts";
import type { OpenRpcDocument, Reference } from "../codegen/open_rpc_document.ts";
import type { Schema } from "../core/schema.ts";
import { sample } from "./sample.ts";
import type { SampleSchema } from "./sample.ts";

/** The part of a compiled schema that is used here. */
interface Validator {
  (value: unknown): unknown;
  errors?: readonly { readonly instancePath: string; readonly message?: string }[] | null;
}

/** The JSON Schemas of a document, as Standard Schemas. */
export class DocumentSchemas {
  readonly #document: OpenRpcDocument;
  readonly #compile: (schema: object) => Validator;
  // Compiled with its first use: a document may have thousands.
  readonly #validators = new Map<unknown, Validator>();

  private constructor(document: OpenRpcDocument, compile: (schema: object) => Validator) {
    this.#document = document;
    this.#compile = compile;
  }

  /** Loads the compiler of schemas. */
  static async of(document: OpenRpcDocument): Promise<DocumentSchemas> {
    const { Ajv } = await import("ajv").catch((cause) => {
      throw new TypeError("mockServer needs the package ajv: install it", { cause });
    });
    const ajv = new Ajv({
      strict: false,
      validateFormats: false,
      logger: false,
      addUsedSchema: false,
    });
    return new DocumentSchemas(document, (schema) => ajv.compile(schema));
  }

  /** Follows a reference. */
  resolve<Part extends object>(part: Part | Reference): Part {
    return resolvePart(this.#document, part);
  }

  /** As a Standard Schema; `absent` stands for params that were not passed. */
  schema(schema: unknown, absent?: unknown): Schema {
    return {
      "~standard": {
        version: 1,
        vendor: "openrpc",
        validate: (value: unknown) => {
          const given = value === undefined ? absent : value;
          const validator = this.#validator(schema);
          if (validator(given ?? null)) return { value: given };
          return { issues: (validator.errors ?? []).map(toIssue) };
        },
        ...{ jsonSchema: { input: () => this.#withComponents(schema) } },
      },
    };
  }

  /** Whether a value fits a schema. */
  fits(schema: unknown, value: unknown): boolean {
    return this.#validator(schema)(value) === true;
  }

  /** Makes a value that should fit a schema. */
  sample(schema: unknown): unknown {
    return sample(
      (schema ?? {}) as SampleSchema,
      (ref) => this.resolve<Exclude<SampleSchema, boolean>>({ $ref: ref }),
    );
  }

  #validator(schema: unknown): Validator {
    let validator = this.#validators.get(schema);
    if (validator === undefined) {
      validator = this.#compile(this.#withComponents(schema));
      this.#validators.set(schema, validator);
    }
    return validator;
  }

  /** A schema that stands alone: its references lead to what it carries. */
  #withComponents(schema: unknown): object {
    const { components } = this.#document;
    const own = typeof schema === "object" && schema !== null
      ? schema
      : schema === false
      ? { not: {} }
      : {};
    return components === undefined ? own : { ...own, components };
  }
}

function toIssue({ instancePath, message = "does not fit" }: {
  readonly instancePath: string;
  readonly message?: string;
}): { message: string; path: string[] } {
  const steps = instancePath.split("/").slice(1);
  const path = steps.map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  return { message, path };
}
