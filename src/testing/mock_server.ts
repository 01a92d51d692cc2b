/**
 * A server that answers as an OpenRPC document says, for front ends whose server is not there.
 *
 * @module
 */

import { resolvePart } from "../codegen/open_rpc_document.ts";
import type {
  ContentDescriptor,
  OpenRpcDocument,
  OpenRpcMethod,
  Reference,
} from "../codegen/open_rpc_document.ts";
import type { ApiOf, ContextIn, PartsOf } from "../core/api.ts";
import type { RpcRequest } from "../core/request.ts";
import type { Schema } from "../core/schema.ts";
import { RpcError } from "../protocol/errors.ts";
import { isReserved } from "../protocol/message.ts";
import { JsonRpc } from "../server/server.ts";
import type { JsonRpcOptions } from "../server/options.ts";
import { DocumentSchemas } from "./document_schemas.ts";

/** Options of {@linkcode mockServer}: those of a server, and handlers of your own. */
export interface MockServerOptions extends JsonRpcOptions {
  /**
   * Answers of methods that should say more than the document does, by name. Params and results are
   * checked as those of all methods.
   *
   * @default {{}}
   */
  readonly handlers?: Readonly<Record<string, MockHandler>>;
}

/** Answers a call: gets the params as the document describes them, and returns the result. */
export type MockHandler = (params: never, request: RpcRequest) => unknown;

/**
 * Makes a server out of an OpenRPC document. Params that do not fit their schemas are refused with
 * -32602. A method answers with the example whose params are those of the call, or else with its first
 * example, or else with a value made out of the schema of its result. Topics are those of the document;
 * `rpc.publish` sends events that fit their schemas.
 *
 * Needs the package `ajv`.
 *
 * @param document The document, such as a server's answer to `rpc.discover`, or one that comes before its server.
 * @param options Handlers of your own, and the options of a server.
 * @typeParam T The interface that `generateTypes` has written for the document; without one, nothing is known of calls.
 * @returns The server: pass it to `testClient`, or serve it. Rejects with `TypeError` if a reference of the document
 * leads nowhere, or a handler has the name of no method.
 *
 * @example
 * ```ts
 * import { mockServer, testClient } from "@x/jsonrpc/testing";
 *
 * const document = {
 *   methods: [{
 *     name: "users.get",
 *     params: [{ name: "id", required: true, schema: { type: "integer" } }],
 *     result: {
 *       name: "user",
 *       schema: { type: "object", properties: { name: { type: "string", examples: ["Ada"] } } },
 *     },
 *   }],
 * };
 * const rpc = await mockServer(document);
 * await using client = await testClient(rpc);
 * console.assert(JSON.stringify(await client.call("users.get", { id: 7 })) === '{"name":"Ada"}');
 * ```
 */
export async function mockServer<T = unknown>(
  document: OpenRpcDocument,
  options: MockServerOptions = {},
): Promise<MockServer<T>> {
  const { handlers = {}, ...rest } = options;
  const { title = "A server that is not there yet", version = "0.0.0" } = document.info ?? {};
  const rpc = new JsonRpc({ info: { title, version }, ...rest });
  const schemas = await DocumentSchemas.of(document);
  const taken = new Set<string>();
  for (const source of document.methods) {
    const method = new MockMethod(resolvePart(document, source), schemas);
    taken.add(method.name);
    // What each server has already is not replaced.
    if (!BUILT_IN.has(method.name) && !isReserved(method.name)) {
      rpc.method(method.name, method.options, method.handler(handlers[method.name]));
    }
  }
  for (const { name, schema } of document["x-topics"] ?? []) {
    rpc.topic(name, { schema: schemas.schema(schema) });
  }
  const unknown = Object.keys(handlers).find((name) => !taken.has(name));
  if (unknown === undefined) return rpc as unknown as MockServer<T>;
  throw new TypeError(`The document has no method "${unknown}", for which there is a handler`);
}

/** A server out of a document, with the types of `T`. */
export type MockServer<T> = JsonRpc<PartsOf<ApiOf<T>>, ContextIn<ApiOf<T>>>;

const BUILT_IN = new Set([
  "get_methods",
  "get_subscriptions",
  "get_topics",
  "subscribe",
  "unsubscribe",
]);

/** One method of the document. */
class MockMethod {
  readonly name: string;
  readonly options: {
    readonly names?: string[];
    readonly params?: Schema;
    readonly result: Schema;
  };
  readonly #method: OpenRpcMethod;
  readonly #schemas: DocumentSchemas;
  readonly #byPosition: boolean;
  readonly #params: readonly ContentDescriptor[];
  readonly #result: unknown;

  constructor(method: OpenRpcMethod, schemas: DocumentSchemas) {
    this.name = method.name;
    this.#method = method;
    this.#schemas = schemas;
    this.#byPosition = method.paramStructure === "by-position";
    this.#params = method.params.map((each) => schemas.resolve(each));
    this.#result = method.result && schemas.resolve(method.result).schema;
    const { summary, description } = method;
    this.options = {
      ...summary !== undefined && { summary },
      ...description !== undefined && { description },
      ...this.#paramOptions(),
      result: schemas.schema(this.#result),
    };
  }

  handler(own: MockHandler | undefined) {
    return (params: unknown, request: RpcRequest): unknown =>
      own === undefined ? this.#answer(params) : own(params as never, request);
  }

  #paramOptions(): { names?: string[]; params?: Schema } {
    if (this.#method["x-any-params"] === true) return {};
    const descriptors = this.#params;
    const required = descriptors.filter(({ required }) => required);
    if (this.#byPosition) {
      const items = descriptors.map(({ schema }) => schema ?? {});
      const bounds = { minItems: required.length, maxItems: items.length };
      return { params: this.#schemas.schema({ type: "array", items, ...bounds }, []) };
    }
    return {
      names: descriptors.map(({ name }) => name),
      params: this.#schemas.schema({
        type: "object",
        properties: Object.fromEntries(
          descriptors.map(({ name, schema }) => [name, schema ?? {}]),
        ),
        required: required.map(({ name }) => name),
        additionalProperties: false,
      }, {}),
    };
  }

  #answer(params: unknown): unknown {
    const examples = (this.#method.examples ?? []).map((each) => this.#schemas.resolve(each));
    const asked = canonical(params);
    const example =
      examples.find((each) => canonical(this.#exampleParams(each.params)) === asked) ??
        examples[0];
    if (example?.result !== undefined) return this.#schemas.resolve(example.result).value ?? null;
    const value = this.#sample();
    if (value !== undefined && this.#schemas.fits(this.#result, value)) return value;
    const reason = "no value for its result can be made";
    throw new RpcError(-32000, `Give "${this.name}" an example or a handler: ${reason}`);
  }

  /** A value for the result; `undefined`, which fits nothing, if the document asks for too much. */
  #sample(): unknown {
    try {
      return this.#schemas.sample(this.#result);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  #exampleParams(
    params: readonly ({ readonly name?: string; readonly value?: unknown } | Reference)[],
  ): unknown {
    const values = params.map((each) => this.#schemas.resolve(each));
    if (this.#byPosition) return values.map(({ value }) => value);
    const names = this.#params.map(({ name }) => name);
    return Object.fromEntries(
      values.map(({ name, value }, index) => [name ?? names[index], value]),
    );
  }
}

/** JSON with the members of objects in the order of their names. */
function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, inner) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1))
        : inner,
  ) ?? "null";
}
