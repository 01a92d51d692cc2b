/**
 * Calls to the other side of a connection, as types. This file holds types alone.
 *
 * @module
 */

import type { ArgumentsOf, ParamsFor, ResultOf, UnknownMethods } from "./api.ts";
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
  /** See {@linkcode Connection.notify}. */
  notify<Name extends keyof Methods & string>(
    method: Name,
    params?: ParamsFor<Methods, Name>,
  ): void;
}

/** How to call the methods of one side. */
export type CallerOf<Methods> = UnknownMethods extends Methods ? UnknownCaller : Caller<Methods>;
