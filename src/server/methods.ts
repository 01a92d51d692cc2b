/**
 * The methods of a server: by name, with their options, guards and middleware.
 *
 * @module
 */

import type { Method } from "../core/dispatcher.ts";
import { RpcError, RpcInvalidParamsError } from "../protocol/errors.ts";
import { compose } from "../core/middleware.ts";
import { isThenable } from "../util/maybe_promise.ts";
import { similarName } from "../util/similar_name.ts";
import { checkDigits } from "./big_integers.ts";
import { admitted } from "../core/guard.ts";
import { MethodRecord } from "../core/method.ts";
import type { MethodOptions } from "../core/method.ts";
import { declareErrors } from "../core/server_request.ts";
import { explains, refusal } from "../core/refusal.ts";
import type { CallMiddleware, Handler, RpcRequest } from "../core/request.ts";
import type { Connection } from "../core/connection.ts";
import type { MethodDocument } from "../core/plugin.ts";
import { isStream } from "./item_reader.ts";
import { checkSchemas, propertyNames, validate } from "../core/schema.ts";
import type { PlainIssue, Schema } from "../core/schema.ts";

/** A registered method. */
export interface MethodEntry extends MethodOptions {
  /** The name that callers use. */
  readonly name: string;
  /** The function that computes the result. */
  readonly handler: Handler;
  /** What `rpc.discover` tells of it. @default {what its options say} */
  readonly document?: MethodDocument;
  /** The names of the subscription by id that it begins. */
  readonly stream?: { readonly unsubscribe: string; readonly notification: string };
  /** Whether it takes the place of a method with its name. @default {false} */
  readonly replaces?: boolean;
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
    this.#forgetReady();
  }

  /** Removes a middleware that `use` was given last. */
  unuse(layer: CallMiddleware): void {
    this.#layers.splice(this.#layers.lastIndexOf(layer), 1);
    this.#forgetReady();
  }

  #forgetReady(): void {
    this.#ready.clear();
    this.#missing = undefined;
  }

  /**
   * Adds a method.
   *
   * @param entry The method.
   * @returns The method whose place it has taken.
   * @throws {TypeError} If the name is empty or taken, if the handler or a middleware is not a function, if
   * `bigIntegers` is none of its values, or if a declared error has a name that is no identifier or a code
   * that is no integer.
   * @throws {RangeError} If `timeoutMs` is negative or not a number.
   */
  add(entry: MethodEntry): MethodEntry | undefined {
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
    if (!MODES.includes(entry.bigIntegers)) {
      throw new TypeError(
        `Expected \`bigIntegers\` to be "refuse", "string" or "bigint", got \`${entry.bigIntegers}\``,
      );
    }
    if (entry.get && entry.socketOnly) {
      throw new TypeError(
        `Cannot register "${name}": \`get\` and \`socketOnly\` exclude each other`,
      );
    }
    checkSchemas(`register "${name}"`, { params: entry.params, result: entry.result });
    checkErrors(entry);
    const before = this.#entries.get(name);
    if (before !== undefined && !entry.replaces) {
      throw new TypeError(`Cannot register "${name}": the name is taken`);
    }
    this.#entries.set(name, entry);
    this.#ready.delete(name);
    return before;
  }

  /** Removes a method, unless another one has its name by now. Calls that run are answered. */
  remove(entry: MethodEntry): void {
    if (this.#entries.get(entry.name) !== entry) return;
    this.#entries.delete(entry.name);
    this.#ready.delete(entry.name);
  }

  /** Finds a method. If there is none, the result throws "Method not found" inside the server's middleware. */
  find(name: string): Method {
    return this.#ready.get(name) ?? this.#prepare(name);
  }

  /** Whether there is a method of this name. */
  has(name: string): boolean {
    return this.#entries.has(name);
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
    // A copy, since a guard may register methods.
    for (const entry of [...this.#entries.values()]) {
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
    const { bigIntegers = "refuse" } = entry;
    const invoke = wrapped([...this.#layers, ...use], withExactIntegers(handlerOf(entry)));
    const method = { scalarParams, timeoutMs, bigIntegers, invoke };
    this.#ready.set(name, method);
    return method;
  }

  #notFound(): Method {
    return this.#missing ??= {
      isMissing: true,
      // The same as for existing methods, so that the answer to scalar params does not show whether a hidden
      // method exists.
      scalarParams: this.#scalarParams,
      invoke: wrapped(this.#layers, (_params, { connection, method }) => {
        throw refusal(
          { connection, kind: "method", name: method },
          this.#whyMissing(method, connection),
        );
      }),
    };
  }

  #whyMissing(name: string, connection: Connection): string {
    const entry = this.#entries.get(name);
    if (entry?.socketOnly) return "it needs a WebSocket";
    if (entry !== undefined) return "it cannot be called by GET: see the option `get` of a method";
    // The search takes time, and is for a developer alone.
    const similar = explains(connection) ? similarName(name, this.#entries.keys()) : undefined;
    const hint = similar === undefined ? "" : `; did you mean "${similar}"?`;
    return `no method has this name${hint}`;
  }
}

/** A method of a group: its name below the group, its handler and its options. */
export interface GroupMethod {
  /** The path of names that leads to it. */
  readonly path: readonly string[];
  /** The function that computes the result, bound to its object. */
  readonly handler: Handler;
  /** Its own options. */
  readonly options: MethodOptions;
}

/**
 * Collects the methods of a group, in their order.
 *
 * @param group A named function, a record, a module or a class instance. Names that start with `_` are left out. Of a
 * class instance, the methods of its classes are included; of a record or module, also the records in it.
 * @returns The methods.
 * @throws {TypeError} If there are none.
 */
export function methodsOf(group: object): GroupMethod[] {
  if (typeof group === "function") {
    if (isClass(group)) {
      throw new TypeError("Cannot add methods: got a class, pass an instance of it");
    }
    if (group.name === "") throw new TypeError("Cannot add methods: the function has no name");
    return [{ path: [group.name], handler: group as Handler, options: {} }];
  }
  const found = [...walk(group, [])];
  if (found.length === 0) throw new TypeError("Cannot add methods: the object has no functions");
  return found;
}

function* walk(group: object, path: readonly string[]): IterableIterator<GroupMethod> {
  // A member hides the members of the same name further up the prototype chain, even if it is no function.
  const seen = new Set<string>();
  for (
    let level = group;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (!seen.has(name) && !isHidden(name)) yield* member(group, value, [...path, name]);
      seen.add(name);
    }
  }
}

function* member(
  group: object,
  value: unknown,
  path: readonly string[],
): IterableIterator<GroupMethod> {
  if (value instanceof MethodRecord) {
    yield { path, handler: value.handler, options: value.options };
  } else if (typeof value === "function") {
    // A module may also export classes. They cannot be called without `new`.
    if (!isClass(value)) yield { path, handler: value.bind(group) as Handler, options: {} };
  } else if (isRecord(value) && isRecord(group)) {
    // Only records within records: a field of a class instance may hold anything, a database say.
    yield* walk(value, path);
  }
}

type Invoke = Method["invoke"];

const MODES: readonly unknown[] = [undefined, "refuse", "string", "bigint"];

function wrapped(layers: readonly CallMiddleware[], handler: Invoke): Invoke {
  // Without middleware the dispatcher calls the handler directly: the fast path.
  if (layers.length === 0) return handler;
  const onion = compose(layers, (request: RpcRequest) => handler(request.params, request));
  return (_params, request) => onion(request);
}

/** The handler with the conversion of its params and the check of its result. */
function handlerOf({ handler, names, params, result, errors }: MethodEntry): Invoke {
  let invoke = handler as unknown as Invoke;
  if (errors !== undefined) invoke = withErrors(invoke, errors);
  if (result !== undefined) invoke = withResult(invoke, result);
  if (params !== undefined) invoke = withParams(invoke, params);
  const order = names ?? (params && propertyNames(params));
  if (order !== undefined) return withNames(invoke, order);
  return params === undefined ? invoke : withoutNull(invoke);
}

/** Refuses params that were rounded, inside all guards. */
function withExactIntegers(invoke: Invoke): Invoke {
  return (params, request) => {
    checkDigits(request);
    return invoke(params, request);
  };
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
    // The schema is of all items together, and they are not there yet.
    if (isStream(result)) return result;
    return validate(schema, result, (issues) => {
      return new TypeError(`The result does not fit its schema (${toText(issues)})`);
    });
  }
  return (params, request) => {
    const result = invoke(params, request);
    return isThenable(result) ? result.then(check) : check(result);
  };
}

type Errors = NonNullable<MethodOptions["errors"]>;

function checkErrors({ name, errors = {} }: MethodEntry): void {
  for (const [error, { code }] of Object.entries(errors)) {
    // The client takes a message that is one word for the name of a declared error.
    if (/^\w+$/.test(error) && Number.isSafeInteger(code)) continue;
    throw new TypeError(
      `Cannot register "${name}": expected error "${error}" to be a word with an integer as its code`,
    );
  }
}

function withErrors(invoke: Invoke, errors: Errors): Invoke {
  const known = new Map(Object.entries(errors));
  function makeError(name: string, data: unknown): RpcError {
    const declared = known.get(name);
    if (declared === undefined) {
      throw new TypeError(`Cannot make error "${name}": the method does not declare it`);
    }
    return new RpcError(declared.code, name, { data: errorData(name, declared.data, data) });
  }
  return (params, request) => {
    declareErrors(request, makeError);
    return invoke(params, request);
  };
}

function errorData(name: string, schema: Schema | undefined, data: unknown): unknown {
  if (schema === undefined) return data;
  const checked = validate(schema, data, (issues) => {
    return new TypeError(`Cannot make error "${name}": its data does not fit (${toText(issues)})`);
  });
  if (!(checked instanceof Promise)) return checked;
  // Nobody else handles the promise.
  checked.catch(() => {});
  throw new TypeError(`Cannot make error "${name}": the schema of its data is asynchronous`);
}

function toText(issues: readonly PlainIssue[]): string {
  return issues.map(({ message, path }) => [...path, message].join(": ")).join("; ");
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

function isHidden(name: string): boolean {
  return name.startsWith("_") || name === "constructor" || name === "default";
}

function isRecord(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  // Modules have no prototype.
  return prototype === Object.prototype || prototype === null;
}

function isClass(value: object): boolean {
  return /^class\b/.test(String(value));
}
