/**
 * Types out of an OpenRPC document: for clients of servers in other languages.
 *
 * @example
 * ```ts
 * import { generateTypes } from "@x/jsonrpc/codegen";
 *
 * const text = await generateTypes({
 *   methods: [{
 *     name: "add",
 *     params: [{ name: "a", required: true, schema: { type: "number" } }],
 *     result: { name: "sum", schema: { type: "number" } },
 *   }],
 * });
 * console.assert(text.includes("export interface Api")); // save it as api.d.ts, and connect<Api>(url)
 * ```
 *
 * @module
 */

import { compile } from "json-schema-to-typescript";
import { resolvePart } from "./open_rpc_document.ts";
import type {
  ContentDescriptor,
  OpenRpcDocument,
  OpenRpcMethod,
  Reference,
} from "./open_rpc_document.ts";

export type {
  ContentDescriptor,
  ExamplePairing,
  OpenRpcDocument,
  OpenRpcMethod,
  Reference,
} from "./open_rpc_document.ts";

/**
 * Writes the declarations of an OpenRPC document, for `connect<Api>()`.
 *
 * @param document The document, such as a server's answer to `rpc.discover`. References to other documents are not
 * followed.
 * @returns The text of a `.d.ts` file that exports an interface `Api`.
 * @throws {TypeError} If it is no OpenRPC document, or a reference leads nowhere.
 */
export async function generateTypes(document: OpenRpcDocument): Promise<string> {
  if (!Array.isArray(document?.methods)) {
    throw new TypeError("Expected an OpenRPC document: an object with an array of methods");
  }
  const payloads = new Payloads(document);
  const methods = document.methods.map((method) => payloads.method(method));
  const topics = (document["x-topics"] ?? []).map(({ name, schema }) =>
    `    readonly ${topicKey(name)}: ${payloads.add(schema)};`
  );
  const clients = document["x-client-methods"]?.map((method) => payloads.method(method));
  const lines = [
    "/** What the server offers, for `connect<Api>()`. */",
    "export interface Api {",
    ...["  readonly methods: {", ...methods, "  };"],
    ...["  readonly topics: {", ...topics, "  };"],
    ...clients === undefined ? [] : ["  readonly client: {", ...clients, "  };"],
    "}",
  ];
  return `${await payloads.toText()}\n${lines.join("\n")}\n`;
}

/** The JSON Schemas of all params, results and events. They become the members of one interface. */
class Payloads {
  readonly #document: OpenRpcDocument;
  readonly #properties: Record<string, unknown> = {};

  constructor(document: OpenRpcDocument) {
    this.#document = document;
  }

  /** Adds a schema, and gives the type that it becomes. */
  add(schema: unknown): string {
    const name = `p${Object.keys(this.#properties).length}`;
    this.#properties[name] = schema ?? {};
    return `${INTERFACE}["${name}"]`;
  }

  /** The line of a method. */
  method(source: OpenRpcMethod | Reference): string {
    const method = this.#resolve(source);
    const { name, summary, description, params, result, paramStructure } = method;
    const comment = String(summary ?? description ?? "").replaceAll("*/", "* /")
      .replaceAll(/\s+/g, " ");
    const type = this.add(result && this.#resolve(result).schema);
    const descriptors = params.map((param) => this.#resolve(param));
    const written = method["x-any-params"] === true
      ? "params?: unknown"
      : this.#params(descriptors, paramStructure);
    const text = `${JSON.stringify(String(name))}(${written}): ${type};`;
    return comment === "" ? `    ${text}` : `    /** ${comment} */\n    ${text}`;
  }

  /** The text of all types that were added. */
  async toText(): Promise<string> {
    const root = {
      title: INTERFACE,
      type: "object",
      properties: this.#properties,
      required: Object.keys(this.#properties),
      additionalProperties: false,
      definitions: Object.fromEntries(
        Object.entries(this.#document.components?.schemas ?? {})
          .map(([name, schema]) => [unreserved(name), schema]),
      ),
    };
    const schema = JSON.parse(JSON.stringify(root), (key, value) => {
      if (isDropped(key, value)) return undefined;
      if (key === "items" && Array.isArray(value) && value.length > MAX_TUPLE) return {};
      if (key === "title" && typeof value === "string") return unreserved(value);
      if (key !== "$ref") return value;
      // The generator looks for definitions at one place.
      return String(value).replace(
        /^#\/components\/schemas\/([^/]+)/,
        (_all, name: string) => `#/definitions/${unreserved(name)}`,
      );
    });
    const text = await compile(schema, INTERFACE, {
      additionalProperties: false,
      bannerComment: "// Generated from an OpenRPC document. Do not edit.",
      format: false,
      unreachableDefinitions: false,
      // A document may come from anywhere: it must not make this program read files or URLs.
      $refOptions: { resolve: { external: false } },
    });
    return indented(text);
  }

  #params(descriptors: readonly ContentDescriptor[], structure = "either"): string {
    if (descriptors.length === 0) return "";
    const required = descriptors.filter(({ required }) => required);
    const byName = {
      type: "object",
      properties: Object.fromEntries(descriptors.map(({ name, schema }) => [name, schema ?? {}])),
      required: required.map(({ name }) => name),
      additionalProperties: false,
    };
    const byPosition = {
      type: "array",
      items: descriptors.map(({ schema }) => schema ?? {}),
      minItems: required.length,
      maxItems: descriptors.length,
      additionalItems: false,
    };
    const types = [
      ...structure === "by-position" ? [] : [this.add(byName)],
      ...structure === "by-name" ? [] : [this.add(byPosition)],
    ];
    return `params${required.length === 0 ? "?" : ""}: ${types.join(" | ")}`;
  }

  #resolve<Part extends object>(part: Part | Reference): Part {
    return resolvePart(this.#document, part);
  }
}

const INTERFACE = "Payloads";

/** Another name for a schema whose type would be called as the interface of the whole is. */
function unreserved(name: string): string {
  return /^\W*api\W*$/i.test(name) ? `${name}Schema` : name;
}

/** Indents the lines of the generator, which has no formatter here, by the brackets around them. */
function indented(text: string): string {
  let depth = 0;
  return text.split("\n").map((line) => {
    const code = line.trim();
    // Comments may hold any bracket.
    const isComment = /^(?:\/?\*|\/\/)/.test(code);
    const brackets = isComment
      ? []
      : code.replaceAll(/"(?:\\.|[^"\\])*"/g, "").match(/[{}[\]()]/g) ?? [];
    const closing = /^[}\])]+/.exec(code)?.[0].length ?? 0;
    const indent = "  ".repeat(Math.max(0, depth - closing));
    for (const bracket of brackets) depth += "{[(".includes(bracket) ? 1 : -1;
    return code === "" ? "" : indent + (isComment && code.startsWith("*") ? " " : "") + code;
  }).join("\n");
}

/** Whether a part of a schema is left out. A schema of a property with such a name is an object or a boolean. */
function isDropped(key: string, value: unknown): boolean {
  // Extensions of the generator, which writes them into the file as they are: texts, or arrays of them.
  if (key === "tsType" || key === "tsEnumNames") {
    return typeof value === "string" || Array.isArray(value);
  }
  // The generator writes one type for each item, and so could fill the memory for one number.
  return (key === "minItems" || key === "maxItems") && typeof value === "number" &&
    value > MAX_TUPLE;
}

// Longer tuples are written as arrays.
const MAX_TUPLE = 100;

/** The name of a topic; a pattern becomes an index signature. */
function topicKey(topic: string): string {
  const name = String(topic);
  if (!name.split(".").includes("*")) return JSON.stringify(name);
  return `[name: \`${name.replaceAll(/[`\\$]/g, "\\$&").replaceAll("*", "${string}")}\`]`;
}
