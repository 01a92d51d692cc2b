/**
 * Methods with options: what `JsonRpc.method` takes, and what `addMethods` takes in a record.
 *
 * @module
 */

import type {
  AnyContext,
  CallerParams,
  CallerResult,
  Context,
  ErrorsIn,
  MethodDefinition,
} from "./api.ts";
import type { UserBehind } from "./guard.ts";
import type { NoJson, Returned, Sendable } from "./json.ts";
import type { CallMiddleware, ErrorDeclaration, Handler, RpcRequest } from "./request.ts";
import type { Schema, SchemaTypes } from "./schema.ts";

/**
 * How one method, or a group of them, is registered.
 */
export interface MethodOptions {
  /**
   * A Standard Schema (zod, valibot, arktype, …) of the params. The handler receives the schema's
   * output. The server answers params that do not fit with -32602 and the issues.
   */
  readonly params?: Schema;
  /**
   * A Standard Schema of the result. If the result does not fit, the server logs the issues and answers
   * -32603. The items of a result that is a stream are not checked.
   */
  readonly result?: Schema;
  /** Middleware and guards of this method, outermost first. They run inside those of the whole server. */
  readonly use?: readonly CallMiddleware[];
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
   * Whether the method needs a connection that lasts: over POST and GET it does not exist. Set it for
   * methods that call back, notify, or keep `connection.state`.
   *
   * @default {false}
   */
  readonly socketOnly?: boolean;
  /**
   * Milliseconds until the server answers the call with -32002 and aborts `request.signal`. With 0, or
   * with more than a timer can count (24 days), there is no time limit.
   *
   * @default {0}
   */
  readonly timeoutMs?: number;
  /**
   * Whether params may be neither array nor object.
   *
   * @default {the server's `scalarParams`}
   */
  readonly scalarParams?: boolean;
  /**
   * What to do with integers in params that a JavaScript number cannot hold, such as 9007199254740993.
   * The server never rounds them: it answers with -32602 (`"refuse"`), or gives the handler all integers
   * beyond ±(2^53-1) as strings or as bigints, of up to 1,000 digits. A number with a point or an
   * exponent, such as 1e300, is always a number; so is an integer that is written as JavaScript writes
   * it, if the mode is `"refuse"`.
   *
   * @default {"refuse"}
   * @see {@link https://www.rfc-editor.org/rfc/rfc8259#section-6 | RFC 8259, section 6}
   */
  readonly bigIntegers?: BigIntegers;
  /** A short description for `rpc.discover`. */
  readonly summary?: string;
  /** A long description for `rpc.discover`. */
  readonly description?: string;
  /** Whether `rpc.discover` marks the method as deprecated. @default {false} */
  readonly deprecated?: boolean;
  /**
   * The errors that callers should expect, by name. The handler throws `request.error(name, data)`, and
   * `tryCall` gives the caller an error of that name. `rpc.discover` lists them.
   */
  readonly errors?: Readonly<Record<string, ErrorDeclaration>>;
}

/** What a method gets for integers in params beyond ±(2^53-1). */
export type BigIntegers = "refuse" | "string" | "bigint";

/** The handler of a method with options. */
export type HandlerOf<C extends Context, Options, Params, Result> = (
  params: HandlerParams<Options, Params>,
  request: RpcRequest<UserIn<C["user"], Options>, C, DeclaredIn<Options>>,
) => HandlerResult<Options, Result>;

/** The handler of a method without options. */
export type PlainHandler<C extends Context, Params, Result> = (
  params: Params,
  // deno-lint-ignore ban-types -- no errors
  request: RpcRequest<C["user"], C, {}>,
) => Returned<Result>;

/** The user behind the guards that options name. */
export type UserIn<User, Options> = Options extends
  { readonly use: infer Use extends readonly unknown[] } ? UserBehind<User, Use> : User;

/** The errors that options declare, by name. */
export type DeclaredIn<Options> = Options extends { readonly errors: infer Errors } ? Errors
  // deno-lint-ignore ban-types -- no errors
  : {};

/** The params that a handler receives: what the `params` schema gives, or else what the handler says. */
export type HandlerParams<Options, Params> = Options extends { readonly params: infer S }
  ? SchemaTypes<S>["output"]
  : Params;

/** What a handler returns: what the `result` schema takes, or a stream of its items, or else what the handler says. */
export type HandlerResult<Options, Result> = Options extends { readonly result: infer S }
  ? ArrayOrStream<SchemaTypes<S>["input"]> | Promise<ArrayOrStream<SchemaTypes<S>["input"]>>
  : Returned<Result>;

/** What a schema takes; an array may be a stream, whose items the schema does not check. */
type ArrayOrStream<T> = T extends readonly (infer Item)[]
  ? T | AsyncIterable<Item> | ReadableStream<Item>
  : T;

/** The params that a handler may say: no scalars without `scalarParams`. */
export type ParamsBound<Options> = Options extends { readonly scalarParams: true } ? unknown
  : Structured;

/** What JSON-RPC allows as params: an array, an object, or nothing. */
export type Structured = object | null | undefined;

/**
 * Makes method definitions. Use {@linkcode method}, or give it the type of your server's users, its clients' methods
 * and its connections' state.
 *
 * @typeParam C What handlers see of their server.
 *
 * @example Handlers in a file of their own that know the server's users
 * ```ts
 * import { loginRequired, method as anyMethod } from "@x/jsonrpc";
 * import type { ContextOf, MethodFactory } from "@x/jsonrpc/types";
 *
 * interface User {
 *   readonly name: string;
 * }
 * const method = anyMethod as MethodFactory<ContextOf<User | null, object, object>>;
 *
 * export const me = {
 *   greet: method({ use: [loginRequired] }, ([word]: [string], { user }) => `${word} ${user.name}`),
 * };
 * ```
 */
export interface MethodFactory<C extends Context> {
  /**
   * @param options The schemas, guards and descriptions of the method.
   * @param handler Receives the params and the request; returns the result, or a promise of it.
   * @returns A definition for a record that `addMethods` takes.
   */
  <
    const Options extends MethodOptions,
    Params extends ParamsBound<Options> = undefined,
    Result = unknown,
  >(
    options: Options & CheckedOptions<Options>,
    handler: HandlerOf<C, Options, Params, Result>,
  ): MethodDefinition<
    CallerParams<Options, Params>,
    CallerResult<Options, Result>,
    ErrorsIn<Options>
  >;
}

/** Refuses a `params` schema of scalars without `scalarParams`, and schemas of results and errors without JSON. */
export type CheckedOptions<Options> = Options extends PlainOptions ? unknown
  : CheckedParams<Options> & CheckedResult<Options> & CheckedErrors<Options>;

// Nearly all options are of this type, and the compiler finds that out without making types anew for each method.
type PlainOptions =
  & { readonly result?: undefined; readonly errors?: undefined }
  & (
    | {
      readonly params?: { readonly "~standard": { readonly types?: StructuredInput | undefined } };
    }
    | { readonly scalarParams: true }
  );

type CheckedParams<Options> = Options extends { readonly scalarParams: true } ? unknown
  : Options extends { readonly params: infer S }
    ? [Extract<SchemaTypes<S>["input"], string | number | boolean | bigint>] extends [never]
      ? unknown
    : { readonly scalarParams: true }
  : unknown;

type CheckedResult<Options> = Options extends { readonly result: infer S }
  ? { readonly result: SendableSchema<S> }
  : unknown;

type CheckedErrors<Options> = Options extends { readonly errors: infer Errors } ? {
    readonly errors: {
      readonly [Name in keyof Errors]: Errors[Name] extends { readonly data: infer S }
        ? { readonly data: SendableSchema<S> }
        : unknown;
    };
  }
  : unknown;

type SendableSchema<S> = unknown extends Sendable<SchemaTypes<S>["output"]> ? unknown
  : NoJson<"what the schema gives has no JSON: a bigint has no JSON, nor has a function">;

interface StructuredInput {
  readonly input: Structured;
}

/** What {@linkcode method} returns. */
export class MethodRecord {
  /** The options. */
  readonly options: MethodOptions;
  /** Computes the result. */
  readonly handler: Handler;

  /**
   * @param options The options.
   * @param handler Computes the result.
   */
  constructor(options: MethodOptions, handler: Handler) {
    this.options = options;
    this.handler = handler;
  }
}

/**
 * Defines a method with options, for a record that {@linkcode JsonRpc.addMethods} takes. A large API is a record of
 * such records, one per file.
 *
 * @param options The schemas, guards and descriptions of the method.
 * @param handler Receives the params and the request; returns the result, or a promise of it.
 * @returns The definition.
 *
 * @example
 * ```ts
 * import { JsonRpc, loginRequired, method, type } from "@x/jsonrpc";
 *
 * const users = {
 *   list: () => ["ann", "bob"],
 *   rename: method(
 *     { params: type<{ from: string; to: string }>(), use: [loginRequired] },
 *     ({ from, to }) => `${from} is ${to} now`,
 *   ),
 * };
 * const rpc = new JsonRpc().addMethods("users", users);
 * ```
 */
export const method: MethodFactory<AnyContext> = (options: MethodOptions, handler: unknown) =>
  new MethodRecord(options, handler as Handler) as never;
