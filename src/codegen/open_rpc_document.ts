/**
 * The parts of an OpenRPC document that this module reads.
 *
 * @see {@link https://spec.open-rpc.org}
 *
 * @module
 */

/** What is read of an OpenRPC document. */
export interface OpenRpcDocument {
  /** The methods of the server. */
  readonly methods: readonly (OpenRpcMethod | Reference)[];
  /** What the server is called. */
  readonly info?: { readonly title?: string; readonly version?: string };
  /** The parts that others refer to. */
  readonly components?: { readonly schemas?: object; readonly contentDescriptors?: object };
  /** The topics, in documents of this module. */
  readonly "x-topics"?: readonly { readonly name: string; readonly schema?: unknown }[];
  /** What clients offer, in documents of this module. */
  readonly "x-client-methods"?: readonly OpenRpcMethod[];
}

/** A method in an OpenRPC document. */
export interface OpenRpcMethod {
  /** The name that callers use. */
  readonly name: string;
  /** A short description. */
  readonly summary?: string;
  /** A long description. */
  readonly description?: string;
  /** Whether params go by name, by position, or as the caller likes. */
  readonly paramStructure?: string;
  /** The params, in order. */
  readonly params: readonly (ContentDescriptor | Reference)[];
  /** Whether the method takes params that the document does not describe, in documents of this module. */
  readonly "x-any-params"?: boolean;
  /** The result. */
  readonly result?: ContentDescriptor | Reference;
  /** Calls with their results. */
  readonly examples?: readonly (ExamplePairing | Reference)[];
}

/** A call with its result in an OpenRPC document. */
export interface ExamplePairing {
  /** The params, in order. */
  readonly params: readonly ({ readonly name?: string; readonly value?: unknown } | Reference)[];
  /** The result. */
  readonly result?: { readonly value?: unknown } | Reference;
}

/** A param or a result in an OpenRPC document. */
export interface ContentDescriptor {
  /** The name of the param. */
  readonly name: string;
  /** Its JSON Schema. */
  readonly schema?: unknown;
  /** Whether the caller must pass it. @default {false} */
  readonly required?: boolean;
}

/** Stands for a part of the document that is written elsewhere in it. */
export interface Reference {
  /** The path to that part: `#/components/…`. */
  readonly $ref: string;
}

/**
 * Follows a reference within a document.
 *
 * @param document The document.
 * @param part A part of it, or a reference to one.
 * @returns The part itself.
 * @throws {TypeError} If the reference leads nowhere, or to itself.
 */
export function resolvePart<Part extends object>(
  document: OpenRpcDocument,
  part: Part | Reference,
): Part {
  let found: Part | Reference = part;
  for (let hops = 0; "$ref" in found; hops++) {
    const next = at(document, String(found.$ref));
    if (typeof next !== "object" || next === null || hops > MAX_HOPS) {
      throw new TypeError(`Cannot read the document: "${found.$ref}" leads nowhere in it`);
    }
    found = next as Part | Reference;
  }
  return found;
}

/** What a JSON pointer leads to. */
function at(document: unknown, pointer: string): unknown {
  let found = document;
  for (const step of pointer.split("/").slice(1)) {
    const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    const holder = found as Record<string, unknown> | null | undefined;
    found = holder && Object.hasOwn(holder, key) ? holder[key] : undefined;
  }
  return pointer.startsWith("#") ? found : undefined;
}

const MAX_HOPS = 100;
