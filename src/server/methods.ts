/**
 * The registry: methods by name, with what is around each.
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
 * @typeParam Use The layers, from which the user's type is known.
 * @typeParam Params What the handler gets.
 * @typeParam Input What callers pass.
 * @typeParam Result What callers get.
 */
export interface MethodOptions<
  Use extends readonly CallMiddleware[] = readonly CallMiddleware[],
  Params = unknown,
  Input = unknown,
  Result = unknown,
> {
  /**
   * What the params are, as a Standard Schema (zod, valibot, arktype, …): the handler gets what it
   * gives, and params that do not fit are answered with -32602 and the issues.
   */
  readonly params?: Schema<Params, Input>;
  /** What the result is; one that does not fit is a fault of the server: -32603, and logged. */
  readonly result?: Schema<Result>;
  /** Layers around the method, the first outermost, inside those of the whole server. */
  readonly use?: Use;
  /**
   * Names of the params, in order: a caller may then pass them by position or by name, the handler
   * always gets an object.
   *
   * @default {those of the `params` schema, where it tells}
   */
  readonly names?: readonly string[];
  /**
   * Whether it can be called by `GET ?method=…&params=…&id=…` too. For methods that only read: a
   * GET may be sent by a link, repeated and cached.
   *
   * @default {false}
   */
  readonly get?: boolean;
  /**
   * Milliseconds until a call is answered with -32002 and its `request.signal` aborts. 0, or more
   * than a timer can take (24 days): no end.
   *
   * @default {0}
   */
  readonly timeoutMs?: number;
  /** What the method does, in a few words, for `rpc.discover`. */
  readonly summary?: string;
  /** What the method does, at length, for `rpc.discover`. */
  readonly description?: string;
  /** Whether callers should leave it for another, for `rpc.discover`. @default {false} */
  readonly deprecated?: boolean;
  /** Errors that callers should expect, for `rpc.discover`. */
  readonly errors?: readonly MethodError[];
}

/** An error that a method may answer with. */
export interface MethodError {
  /** Its number. */
  readonly code: number;
  /** What it says. */
  readonly message: string;
}

/** A method as it is registered. */
export interface MethodEntry extends MethodOptions {
  /** The name it is called by. */
  readonly name: string;
  /** Answers the calls. */
  readonly handler: Handler;
  /** Whether params that are neither array nor object reach it. @default {the server's option} */
  readonly scalarParams?: boolean;
  /** Whether it exists only for connections that last. @default {false} */
  readonly socketOnly?: boolean;
}

/** Methods by name. A Map: `constructor` and `__proto__` are names as any other. */
export class MethodRegistry {
  readonly #entries = new Map<string, MethodEntry>();
  // What is ready to run; made on first call, dropped when a layer is added.
  readonly #ready = new Map<string, Method>();
  readonly #layers: CallMiddleware[] = [];
  readonly #scalarParams: boolean;
  #missing: Method | undefined;

  /** @param scalarParams What holds for methods that do not say, and for those that are missing. */
  constructor(scalarParams = false) {
    this.#scalarParams = scalarParams;
  }

  /** Adds a layer around every method, registered before or after. */
  use(layer: CallMiddleware): void {
    this.#layers.push(layer);
    this.#ready.clear();
    this.#missing = undefined;
  }

  /**
   * Adds a method.
   *
   * @throws {TypeError} Where the name is empty or taken, or the handler or a layer is no function.
   * @throws {RangeError} Where its time limit makes no sense.
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
      throw new TypeError(`Cannot register "${name}": its \`use\` is no list of functions`);
    }
    if (!(timeoutMs >= 0)) {
      throw new RangeError(`Expected \`timeoutMs\` to be a number from 0, got \`${timeoutMs}\``);
    }
    if (this.#entries.has(name)) {
      throw new TypeError(`Cannot register "${name}": the name is taken`);
    }
    this.#entries.set(name, entry);
  }

  /** Finds what to run for a name: the layers around "Method not found" where there is none. */
  find(name: string): Method {
    return this.#ready.get(name) ?? this.#prepare(name);
  }

  /** As {@linkcode MethodRegistry.find}, for a caller without a lasting connection. */
  findOverPost(name: string): Method {
    return this.#entries.get(name)?.socketOnly ? this.#notFound() : this.find(name);
  }

  /** As {@linkcode MethodRegistry.find}, for a GET. */
  findOverGet(name: string): Method {
    return this.#entries.get(name)?.get ? this.find(name) : this.#notFound();
  }

  /** What a connection may use, in the order of registration. */
  *list(connection: Connection, lasting: boolean): IterableIterator<MethodEntry> {
    for (const entry of this.#entries.values()) {
      if (entry.socketOnly && !lasting) continue;
      if (this.admits(entry.name, connection)) yield entry;
    }
  }

  /** Whether all guards around a method admit a connection. */
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
      // As others have it: a stranger must not tell a hidden method from a missing one by this.
      scalarParams: this.#scalarParams,
      invoke: wrapped(this.#layers, () => {
        throw new RpcMethodNotFoundError();
      }),
    };
  }
}

/**
 * The functions of a thing, by name: of an object or module its own, of a class instance also
 * those of its classes, bound to it. Names that start with `_` are private.
 *
 * @throws {TypeError} Where there is nothing to call.
 */
export function functionsOf(thing: object): Map<string, Handler> {
  const functions = new Map<string, Handler>();
  if (typeof thing === "function") {
    if (isClass(thing)) {
      throw new TypeError("Cannot add methods: this is a class, pass an instance of it");
    }
    if (thing.name === "") throw new TypeError("Cannot add methods: the function has no name");
    return functions.set(thing.name, thing as Handler);
  }
  // What stands in front of a method hides it, be it a method or not.
  const seen = new Set<string>();
  for (
    let level = thing;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (!seen.has(name) && isMethod(name, value)) {
        functions.set(name, value.bind(thing) as Handler);
      }
      seen.add(name);
    }
  }
  if (functions.size === 0) throw new TypeError("Cannot add methods: the thing has no functions");
  return functions;
}

type Invoke = Method["invoke"];

function wrapped(layers: readonly CallMiddleware[], handler: Invoke): Invoke {
  // Without layers nothing stands between the dispatcher and the handler.
  if (layers.length === 0) return handler;
  const onion = compose(layers, (request: RpcRequest) => handler(request.params, request));
  return (_params, request) => onion(request);
}

/** The handler with what is done to its params before and to its result after. */
function handlerOf({ handler, names, params, result }: MethodEntry): Invoke {
  let invoke = handler as unknown as Invoke;
  if (result !== undefined) invoke = withResult(invoke, result);
  if (params !== undefined) invoke = withParams(invoke, params);
  const order = names ?? (params && propertyNames(params));
  return order === undefined ? invoke : withNames(invoke, order);
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
  if (params === undefined) return {};
  if (typeof params === "object" && !Array.isArray(params)) return params;
  // A lone scalar, where they are let through, is the first.
  const values = Array.isArray(params) ? params : [params];
  if (values.length > names.length) {
    throw new RpcInvalidParamsError({
      data: `Expected at most ${names.length} params (${names.join(", ")}), got ${values.length}`,
    });
  }
  return Object.fromEntries(values.map((value, index) => [names[index], value]));
}

// deno-lint-ignore ban-types -- whatever can be bound and called
function isMethod(name: string, value: unknown): value is Function {
  if (typeof value !== "function" || name.startsWith("_")) return false;
  // A module may export classes beside its functions: they cannot be called.
  return name !== "constructor" && name !== "default" && !isClass(value);
}

function isClass(value: object): boolean {
  return /^class\b/.test(String(value));
}
