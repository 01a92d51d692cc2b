/**
 * The methods of a server: by name, with their options, guards and middleware.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { RpcInvalidParamsError, RpcMethodNotFoundError } from "../protocol/errors.ts";
import { compose } from "../core/middleware.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { admitted } from "../core/guard.ts";
import type { CallMiddleware, Handler, RpcRequest } from "../core/request.ts";
import type { Connection } from "../core/connection.ts";
import { propertyNames, validate } from "../core/schema.ts";
import type { Schema } from "../core/schema.ts";

/**
 * How one method, or a group of them, is registered.
 *
 * @typeParam Use The middleware and guards. Guards narrow the type of `request.user`.
 * @typeParam Params The params that the handler receives.
 * @typeParam Input The params that callers pass.
 * @typeParam Result The result that callers receive.
 */
export interface MethodOptions<
  Use extends readonly CallMiddleware[] = readonly CallMiddleware[],
  Params = unknown,
  Input = unknown,
  Result = unknown,
> {
  /**
   * A Standard Schema (zod, valibot, arktype, …) of the params. The handler receives the schema's
   * output. The server answers params that do not fit with -32602 and the issues.
   */
  readonly params?: Schema<Params, Input>;
  /**
   * A Standard Schema of the result. If the result does not fit, the server logs the issues and answers
   * -32603.
   */
  readonly result?: Schema<Result>;
  /** Middleware and guards of this method, outermost first. They run inside those of the whole server. */
  readonly use?: Use;
  /**
   * The names of the params, in order. A caller may then pass params by position or by name, and the
   * handler always receives an object.
   *
   * @default {the properties of the `params` schema, if it shows them}
   */
  readonly names?: readonly string[];
  /**
   * Whether callers may also use `GET ?method=…&params=…&id=…`. Set it only for methods that change
   * nothing, because links, caches and retries can send a GET.
   *
   * @default {false}
   */
  readonly get?: boolean;
  /**
   * Milliseconds until the server answers the call with -32002 and aborts `request.signal`. With 0, or
   * with more than a timer can count (24 days), there is no time limit.
   *
   * @default {0}
   */
  readonly timeoutMs?: number;
  /** A short description for `rpc.discover`. */
  readonly summary?: string;
  /** A long description for `rpc.discover`. */
  readonly description?: string;
  /** Whether `rpc.discover` marks the method as deprecated. @default {false} */
  readonly deprecated?: boolean;
  /** The errors that `rpc.discover` lists for the method. */
  readonly errors?: readonly MethodError[];
}

/** An error that a method may return. */
export interface MethodError {
  /** The error code. */
  readonly code: number;
  /** The error message. */
  readonly message: string;
}

/** A registered method. */
export interface MethodEntry extends MethodOptions {
  /** The name that callers use. */
  readonly name: string;
  /** The function that computes the result. */
  readonly handler: Handler;
  /** Whether params may be neither array nor object. @default {the server's `scalarParams`} */
  readonly scalarParams?: boolean;
  /** Whether the method does not exist over HTTP. @default {false} */
  readonly socketOnly?: boolean;
}

/** The methods of a server by name. */
export class MethodRegistry {
  // A Map, because `constructor` and `__proto__` are members of every object.
  readonly #entries = new Map<string, MethodEntry>();
  // Methods with their middleware around them. Each is built on the first call, because middleware may
  // still be added after the method.
  readonly #ready = new Map<string, Method>();
  readonly #layers: CallMiddleware[] = [];
  readonly #scalarParams: boolean;
  #missing: Method | undefined;

  /** @param scalarParams Whether methods accept scalar params unless their options say otherwise. */
  constructor(scalarParams = false) {
    this.#scalarParams = scalarParams;
  }

  /** Adds middleware to every method, registered before or after. */
  use(layer: CallMiddleware): void {
    this.#layers.push(layer);
    this.#ready.clear();
    this.#missing = undefined;
  }

  /**
   * Adds a method.
   *
   * @param entry The method.
   * @throws {TypeError} If the name is empty or taken, or if the handler or a middleware is not a function.
   * @throws {RangeError} If `timeoutMs` is negative or not a number.
   */
  add(entry: MethodEntry): void {
    const { name, handler, use = [], timeoutMs = 0 } = entry;
    if (typeof name !== "string" || name === "") {
      throw new TypeError("Cannot register a method: its name is empty");
    }
    if (typeof handler !== "function") {
      throw new TypeError(`Cannot register "${name}": its handler is a ${typeof handler}`);
    }
    if (!Array.isArray(use) || !use.every((layer) => typeof layer === "function")) {
      throw new TypeError(`Cannot register "${name}": its \`use\` is not an array of functions`);
    }
    if (!(timeoutMs >= 0)) {
      throw new RangeError(`Expected \`timeoutMs\` to be a number from 0, got \`${timeoutMs}\``);
    }
    if (this.#entries.has(name)) {
      throw new TypeError(`Cannot register "${name}": the name is taken`);
    }
    this.#entries.set(name, entry);
  }

  /** Finds a method. If there is none, the result throws "Method not found" inside the server's middleware. */
  find(name: string): Method {
    return this.#ready.get(name) ?? this.#prepare(name);
  }

  /** Finds a method for an HTTP POST. */
  findOverPost(name: string): Method {
    return this.#entries.get(name)?.socketOnly ? this.#notFound() : this.find(name);
  }

  /** Finds a method for an HTTP GET. */
  findOverGet(name: string): Method {
    return this.#entries.get(name)?.get ? this.find(name) : this.#notFound();
  }

  /**
   * Lists the methods that a connection may use, in the order of registration.
   *
   * @param connection The connection.
   * @param isPersistent Whether the connection stays open after one request.
   */
  *list(connection: Connection, isPersistent: boolean): IterableIterator<MethodEntry> {
    for (const entry of this.#entries.values()) {
      if (entry.socketOnly && !isPersistent) continue;
      if (this.admits(entry.name, connection)) yield entry;
    }
  }

  /** Whether all guards of a method admit a connection. */
  admits(name: string, connection: Connection): boolean {
    const { use = [] } = this.#entries.get(name) ?? {};
    const question = { user: connection.user, connection, name, kind: "method" } as const;
    return admitted(this.#layers, question) && admitted(use, question);
  }

  #prepare(name: string): Method {
    const entry = this.#entries.get(name);
    if (entry === undefined) return this.#notFound();
    const { use = [], scalarParams = this.#scalarParams, timeoutMs = 0 } = entry;
    const invoke = wrapped([...this.#layers, ...use], handlerOf(entry));
    const method = { scalarParams, timeoutMs, invoke };
    this.#ready.set(name, method);
    return method;
  }

  #notFound(): Method {
    return this.#missing ??= {
      // The same as for existing methods, so that the answer to scalar params does not show whether a hidden
      // method exists.
      scalarParams: this.#scalarParams,
      invoke: wrapped(this.#layers, () => {
        throw new RpcMethodNotFoundError();
      }),
    };
  }
}

/**
 * Collects the functions of a source, each bound to it.
 *
 * @param source A named function, an object, a module or a class instance. Names that start with `_` are
 * left out. Of a class instance, the methods of its classes are included.
 * @returns The functions by name.
 * @throws {TypeError} If there are none.
 */
export function functionsOf(source: object): Map<string, Handler> {
  const functions = new Map<string, Handler>();
  if (typeof source === "function") {
    if (isClass(source)) {
      throw new TypeError("Cannot add methods: got a class, pass an instance of it");
    }
    if (source.name === "") throw new TypeError("Cannot add methods: the function has no name");
    return functions.set(source.name, source as Handler);
  }
  // A member hides the members of the same name further up the prototype chain, even if it is no function.
  const seen = new Set<string>();
  for (
    let level = source;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (!seen.has(name) && isMethod(name, value)) {
        functions.set(name, value.bind(source) as Handler);
      }
      seen.add(name);
    }
  }
  if (functions.size === 0) throw new TypeError("Cannot add methods: the object has no functions");
  return functions;
}

type Invoke = Method["invoke"];

function wrapped(layers: readonly CallMiddleware[], handler: Invoke): Invoke {
  // Without middleware the dispatcher calls the handler directly: the fast path.
  if (layers.length === 0) return handler;
  const onion = compose(layers, (request: RpcRequest) => handler(request.params, request));
  return (_params, request) => onion(request);
}

/** The handler with the conversion of its params and the check of its result. */
function handlerOf({ handler, names, params, result }: MethodEntry): Invoke {
  let invoke = handler as unknown as Invoke;
  if (result !== undefined) invoke = withResult(invoke, result);
  if (params !== undefined) invoke = withParams(invoke, params);
  const order = names ?? (params && propertyNames(params));
  if (order !== undefined) return withNames(invoke, order);
  return params === undefined ? invoke : withoutNull(invoke);
}

/** Some clients send `null` for no params. Only a method without a declaration may see it, as a scalar. */
function withoutNull(invoke: Invoke): Invoke {
  return (params, request) => invoke(params === null ? undefined : params, request);
}

function withNames(invoke: Invoke, names: readonly string[]): Invoke {
  return (params, request) => invoke(toNamed(params, names), request);
}

function withParams(invoke: Invoke, schema: Schema): Invoke {
  return (params, request) => {
    const checked = validate(
      schema,
      params,
      (issues) => new RpcInvalidParamsError({ data: issues }),
    );
    return checked instanceof Promise
      ? checked.then((value) => invoke(value, request))
      : invoke(checked, request);
  };
}

function withResult(invoke: Invoke, schema: Schema): Invoke {
  function check(result: unknown): unknown {
    return validate(schema, result, (issues) => {
      const why = issues.map(({ message, path }) => [...path, message].join(": ")).join("; ");
      return new TypeError(`The result does not fit its schema (${why})`);
    });
  }
  return (params, request) => {
    const result = invoke(params, request);
    return isThenable(result) ? result.then(check) : check(result);
  };
}

function toNamed(params: unknown, names: readonly string[]): unknown {
  if (params === undefined || params === null) return {};
  if (typeof params === "object" && !Array.isArray(params)) return params;
  // If the method accepts scalars, a scalar is the first param.
  const values = Array.isArray(params) ? params : [params];
  if (values.length > names.length) {
    throw new RpcInvalidParamsError({
      data: `Expected at most ${names.length} params (${names.join(", ")}), got ${values.length}`,
    });
  }
  return Object.fromEntries(values.map((value, index) => [names[index], value]));
}

// deno-lint-ignore ban-types -- any function
function isMethod(name: string, value: unknown): value is Function {
  if (typeof value !== "function" || name.startsWith("_")) return false;
  // A module may also export classes. They cannot be called without `new`.
  return name !== "constructor" && name !== "default" && !isClass(value);
}

function isClass(value: object): boolean {
  return /^class\b/.test(String(value));
}
