/**
 * Calls to the other side of a connection, as types. This file holds types alone.
 *
 * @module
 */

import type { ArgumentsOf, ParamsFor, ResultOf, UnknownMethods } from "./api.ts";
import type { NoJson } from "./json.ts";
import type { CallOptions } from "./pending_calls.ts";

/** How to call methods whose types are not known. */
export interface UnknownCaller {
  /** See {@linkcode Connection.call}. */
  call<Result = unknown>(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<Result>;
  /** See {@linkcode Connection.notify}. */
  notify(method: string, params?: unknown): void;
}

/** How to call methods whose types are known. */
export interface Caller<Methods> {
  /** See {@linkcode Connection.call}. */
  call<Name extends keyof Methods & string>(
    method: Name,
    ...rest: ArgumentsOf<Methods, Name, CallOptions>
  ): Promise<ResultOf<Methods[Name]>>;
  /**
   * Never called. With it, a function that takes a {@linkcode Connection} of any server also takes one whose methods
   * are known. No call by name has so few arguments, so that errors of the compiler do not mention it.
   */
  // deno-lint-ignore no-explicit-any -- the `Result` of UnknownCaller may be any type
  call(this: NoJson<"a call needs the name of a method">): Promise<any>;
  /** See {@linkcode Connection.notify}. */
  notify<Name extends keyof Methods & string>(
    method: Name,
    params?: ParamsFor<Methods, Name>,
  ): void;
}

/** How to call the methods of one side. */
export type CallerOf<Methods> = UnknownMethods extends Methods ? UnknownCaller : Caller<Methods>;
