/**
 * An OpenRPC document of a server.
 *
 * @see {@link https://spec.open-rpc.org}
 *
 * @module
 */

import type { Connection } from "../core/connection.ts";
import type { MethodDocument } from "../core/plugin.ts";
import { propertyNames } from "../core/schema.ts";
import type { Schema } from "../core/schema.ts";
import { Definitions } from "./json_schema.ts";
import type { JsonSchema } from "./json_schema.ts";
import type { MethodEntry } from "./methods.ts";

/** The `info` of the OpenRPC document. */
export interface ServerInfo {
  /** The name of the API. */
  readonly title: string;
  /** The version of the API. */
  readonly version: string;
  /** A description of the API. */
  readonly description?: string;
}

/** Where a server can be reached, as the OpenRPC document says it. */
export interface ServerLocation {
  /** The URL. */
  readonly url: string;
  /** A short name, such as "production". */
  readonly name?: string;
  /** What it is for. */
  readonly description?: string;
}

/** A topic as the document shows it. */
export interface DiscoveredTopic {
  /** The name or pattern. */
  readonly name: string;
  /** A Standard Schema of the events. */
  readonly schema?: Schema | undefined;
}

/** A method of clients, as the document shows it. */
export interface ClientMethodInfo {
  /** A Standard Schema of the params. */
  readonly params?: Schema;
  /** A Standard Schema of the result. */
  readonly result?: Schema;
  /** A short description. */
  readonly summary?: string;
  /** A long description. */
  readonly description?: string;
}

/** What a document is made of, beside the methods. */
export interface DiscoverySource {
  /** The `info` of the document. */
  readonly info: ServerInfo;
  /** The version of OpenRPC that the document names. */
  readonly version: string;
  /** Where the server can be reached; if it is not told, where the caller has reached it. */
  readonly servers: readonly ServerLocation[] | undefined;
  /** Gives the topics that a connection may use. */
  topics(connection: Connection): Iterable<DiscoveredTopic>;
  /** The methods that clients offer, by name. */
  readonly clientMethods: ReadonlyMap<string, ClientMethodInfo>;
}

/**
 * Builds the document. Params have names if the options or the schema of a method name them. Params and results have
 * a JSON Schema if the schema's library can generate one.
 *
 * @param source What the document is made of, beside the methods.
 * @param entries The methods that the caller may use.
 * @param connection The connection of the caller.
 */
export function toOpenRpc(
  source: DiscoverySource,
  entries: readonly MethodEntry[],
  connection: Connection,
): object {
  const described = entries.filter(({ name }) => name !== "rpc.discover").map(describe);
  const topics = Array.from(source.topics(connection), toTopic);
  const clients = Array.from(source.clientMethods, ([name, info]) => toClientMethod(name, info));
  const schemas = Object.assign(
    {},
    ...[...described, ...topics, ...clients].map(({ definitions }) => definitions),
  );
  return {
    openrpc: source.version,
    info: source.info,
    ...toServers(source, connection),
    methods: described.map(({ value }) => value),
    ...topics.length > 0 && { "x-topics": topics.map(({ value }) => value) },
    ...clients.length > 0 && { "x-client-methods": clients.map(({ value }) => value) },
    ...Object.keys(schemas).length > 0 && { components: { schemas } },
  };
}

function toServers({ servers }: DiscoverySource, { handshake }: Connection): object {
  if (servers !== undefined) return { servers };
  // A program over stdio or a message port has no URL.
  if (!URL.canParse(handshake.url)) return {};
  const { protocol, host, pathname } = new URL(handshake.url);
  if (!/^(?:http|ws)s?:$/.test(protocol)) return {};
  const scheme = handshake.isUpgrade ? protocol.replace("http", "ws") : protocol;
  // Without the query, which may hold a token.
  return { servers: [{ name: "this server", url: `${scheme}//${host}${pathname}` }] };
}

/** A part of the document, and the schemas that it refers to. */
interface Described {
  readonly value: object;
  readonly definitions: Readonly<Record<string, JsonSchema>>;
}

// Cached, because generating JSON Schema is slow and every peer may call `rpc.discover` at any rate.
const descriptions = new WeakMap<MethodEntry, Described>();

function describe(entry: MethodEntry): Described {
  let description = descriptions.get(entry);
  if (description === undefined) descriptions.set(entry, description = toMethod(entry));
  return description;
}

function toClientMethod(name: string, info: ClientMethodInfo): Described {
  const { value, definitions } = toMethod({ ...info, name });
  const { paramStructure } = value as { paramStructure: string };
  // A client's method receives params as the server sends them, by position or by name.
  const named = paramStructure === "either" ? { ...value, paramStructure: "by-name" } : value;
  return { value: named, definitions };
}

type Describable = Omit<MethodEntry, "handler"> & Partial<Pick<MethodEntry, "handler">>;

function toMethod(entry: Describable): Described {
  if (entry.document !== undefined) return ofPlugin(entry.name, entry.document);
  const { name, summary, description, deprecated, result, stream } = entry;
  const definitions = new Definitions(name);
  const value = {
    name,
    summary,
    description,
    deprecated,
    ...toParams(entry, definitions),
    result: { name: "result", schema: definitions.add("result", result) },
    ...toErrors(entry, definitions),
    // So that a reader need not be told the names of a subscription by id.
    ...stream && { "x-stream": stream },
  };
  return { value, definitions: definitions.all };
}

function ofPlugin(name: string, document: MethodDocument): Described {
  const { summary, structure: paramStructure = "either", result: schema } = document;
  const params = document.params.map((param) => ({ required: false, ...param }));
  const result = { name: "result", schema };
  return { value: { name, summary, paramStructure, params, result }, definitions: {} };
}

function toParams(
  { params, names, handler }: Describable,
  definitions: Definitions,
): { paramStructure: string; params: object[]; "x-any-params"?: true } {
  // Without this mark, a method that reads params without describing them would look like one that takes none.
  if (params === undefined && names === undefined && handler?.length !== 0) {
    return { paramStructure: "either", params: [], "x-any-params": true };
  }
  const schema = definitions.add("params", params);
  const tuple = schema.items ?? schema.prefixItems;
  if (Array.isArray(tuple) && names === undefined) {
    const { minItems = 0 } = schema as { minItems?: number };
    return {
      paramStructure: "by-position",
      params: tuple.map((item: JsonSchema, index) => ({
        name: item.title ?? `param${index + 1}`,
        required: index < minItems,
        schema: item,
      })),
    };
  }
  const { properties = {}, required = [] } = schema as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  const order = names ?? (params && propertyNames(params)) ?? [];
  return {
    paramStructure: "either",
    params: order.map((name) => ({
      name,
      ...params && { required: required.includes(name) },
      schema: properties[name] ?? {},
    })),
  };
}

function toErrors({ errors = {} }: Describable, definitions: Definitions): object {
  const declared = Object.entries(errors);
  if (declared.length === 0) return {};
  const data = declared.filter(([, { data }]) => data !== undefined)
    .map(([name, { data }]) => [name, definitions.add(`errors_${name}`, data)]);
  return {
    errors: declared.map(([message, { code }]) => ({ code, message })),
    // An error object of OpenRPC has no place for a schema.
    ...data.length > 0 && { "x-error-data": Object.fromEntries(data) },
  };
}

function toTopic({ name, schema }: DiscoveredTopic): Described {
  const definitions = new Definitions(`topic_${name}`);
  const value = { name, schema: definitions.add("event", schema) };
  return { value, definitions: definitions.all };
}
