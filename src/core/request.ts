/**
 * One call or notification, as its handler and the middleware around it see it.
 *
 * @module
 */

import type { RpcError } from "../protocol/errors.ts";
import type { Id, RequestMessage } from "../protocol/message.ts";
import type {
  AnyContext,
  Context,
  ErrorData,
  ParamsOf,
  RawResultOf,
  UnknownMethods,
} from "./api.ts";
import type { CallerOf } from "./caller.ts";
import type { BaseConnection, Connection } from "./connection.ts";
import { ABORT, REPLY, SETTLE } from "./internal.ts";
import type { Middleware } from "./middleware.ts";
import type { CallOptions } from "./pending_calls.ts";
import type { Schema } from "./schema.ts";

/**
 * One call or notification, as its handler and the middleware around it see it.
 *
 * @typeParam User The type of {@linkcode RpcRequest.user}, as far as guards have narrowed it.
 * @typeParam C What is known of the server's clients.
 * @typeParam Errors The errors that the method declares, by name.
 */
export interface RpcRequest<
  User = unknown,
  C extends Context = AnyContext,
  Errors = Readonly<Record<string, ErrorDeclaration>>,
> {
  /** The peer that calls. Over POST its `response` sets the HTTP status and response headers of the answer. */
  readonly connection: Connection<User, C>;
  /** The method's name, as it was called. */
  readonly method: string;
  /** The id of the call; `undefined` for a notification. */
  readonly id: Id | undefined;
  /** The params, as the caller sent them. Middleware may replace them. */
  params: unknown;
  /** The current user of the connection; `null` if there is none. */
  readonly user: User;
  /** Aborts when the caller cancels the call or disconnects, or when the call has timed out. */
  readonly signal: AbortSignal;
  /** Whether the signal has aborted. Cheaper than reading the signal. */
  readonly aborted: boolean;
  /**
   * Calls a method of the caller, while the caller waits for its own call. If the caller's call is
   * aborted, so is this one, unless `options.signal` is given.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @param options Timeout, signal and the like.
   * @returns The caller's answer. Rejects as {@linkcode JsonRpcClient.call} does.
   *
   * @example The server asks back before it acts
   * ```ts
   * import { connect, JsonRpc } from "@x/jsonrpc";
   * import { linkedSockets } from "@x/jsonrpc/testing";
   *
   * const rpc = new JsonRpc().method("format", async ({ disk }: { disk: string }, request) => {
   *   const sure = await request.call<boolean>("sure", [`Really format ${disk}?`]);
   *   return sure ? "formatted" : "kept";
   * });
   * const [near, far] = linkedSockets();
   * rpc.attach(far);
   *
   * const client = await connect<typeof rpc>(near);
   * client.method("sure", ([question]: [string]) => question !== "Really format sda?");
   * console.assert(await client.call("format", { disk: "sda" }) === "kept");
   * await client.close();
   * ```
   */
  readonly call: CallerOf<C["client"]>["call"];
  /**
   * Asks the caller's user to confirm something. Short for `call("confirm", { message })`. Only requests to a server
   * have this.
   *
   * @param message The question to show.
   * @param options Timeout, signal and the like.
   * @returns The user's answer.
   */
  confirm(message: string, options?: CallOptions): Promise<boolean>;
  /**
   * Sends the caller a notification.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   * @throws {TypeError} If the params have no JSON, or are neither an array nor an object.
   * @throws {RangeError} If the notification is longer than `maxMessageBytes`.
   */
  readonly notify: CallerOf<C["client"]>["notify"];
  /**
   * Reports the progress of this call. The caller's `onProgress` receives the value. Does nothing for a
   * notification.
   *
   * @param value Anything that has JSON.
   * @throws {TypeError} If the value has no JSON.
   * @throws {RangeError} If the message is longer than `maxMessageBytes`.
   */
  progress(value: unknown): void;
  /**
   * Makes an error that the method declares, to be thrown. The name is sent as the message of the error. Only
   * requests to a server have this.
   *
   * @param name The name of the error in the method's `errors`.
   * @param data The data of the error, if it declares some.
   * @returns The error.
   * @throws {TypeError} If the method does not declare the error, or the data does not fit.
   */
  readonly error: ErrorMaker<Errors>["error"];
}

/** An error that a method may return. */
export interface ErrorDeclaration {
  /** The error code: an integer. `-32768` to `-32000` belong to the specification and to libraries. */
  readonly code: number;
  /** A Standard Schema of the error's data. An error without it has no data. */
  readonly data?: Schema;
}

/** How a handler makes the errors that its method declares. */
export interface ErrorMaker<Errors> {
  /** See {@linkcode RpcRequest.error}. */
  error<Name extends keyof Errors & string>(
    name: Name,
    ...data: undefined extends ErrorData<Errors[Name]>["input"]
      ? [data?: ErrorData<Errors[Name]>["input"]]
      : [data: ErrorData<Errors[Name]>["input"]]
  ): RpcError;
}

/** A function that answers calls. It may return a value or a promise of one. */
// The two `never` make this type accept handlers with any type of params and any narrowed user.
export type Handler = (params: never, request: never) => unknown;

/** Middleware around calls. It runs for each request, notification, batch entry and subscription. */
export type CallMiddleware = Middleware<RpcRequest>;

/** Receives the answer to one message. */
export interface ResponseSink {
  /**
   * Receives the answer. Called exactly once for each message.
   *
   * @param text The answer, or `undefined` if the message has none.
   * @param request The request that was answered, or `undefined` if the message was no valid request.
   * @param index The position in a batch; 0 for a single message.
   */
  [REPLY](text: string | undefined, request: IncomingRequest | undefined, index: number): void;
}

/** Members that only the requests to a server have: see `server_request.ts`. */
export interface IncomingRequest extends Pick<RpcRequest, "confirm" | "error"> {}

/** The implementation of {@linkcode RpcRequest}. Only the dispatcher answers it. */
export class IncomingRequest implements RpcRequest {
  declare readonly connection: BaseConnection;
  declare readonly method: string;
  declare readonly id: Id | undefined;
  declare params: unknown;
  readonly #sink: ResponseSink;
  readonly #index: number;
  #controller: AbortController | undefined;
  #abortReason: unknown;

  /**
   * @param connection The peer that calls.
   * @param message The message that it sent.
   * @param sink Receives the answer.
   * @param index The position in a batch; 0 for a single message.
   */
  constructor(
    connection: BaseConnection,
    message: RequestMessage,
    sink: ResponseSink,
    index: number,
  ) {
    this.connection = connection;
    this.method = message.method;
    this.id = message.id;
    this.params = message.params;
    this.#sink = sink;
    this.#index = index;
  }

  get user(): unknown {
    return this.connection.user;
  }

  get signal(): AbortSignal {
    const controller = this.#controller ??= new AbortController();
    if (this.#abortReason !== undefined) controller.abort(this.#abortReason);
    return controller.signal;
  }

  get aborted(): boolean {
    return this.#abortReason !== undefined || !this.connection.isOpen;
  }

  call<Result = unknown>(
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): Promise<Result> {
    const signal = options.signal ?? this.signal;
    return this.connection.call<Result>(method, params, { ...options, signal });
  }

  notify(method: string, params?: unknown): void {
    this.connection.notify(method, params);
  }

  progress(value: unknown): void {
    if (this.id !== undefined) this.notify("$/progress", { token: this.id, value });
  }

  /** Aborts {@linkcode IncomingRequest.signal}. */
  [ABORT](reason: unknown): void {
    this.#abortReason ??= reason;
    this.#controller?.abort(reason);
  }

  /** Hands the answer to the sink. Called once. */
  [SETTLE](_succeeded: boolean, text: string | undefined): void {
    this.#sink[REPLY](text, this, this.#index);
  }
}

/** A handler of a client's method, as the server declares it. */
export type ClientHandler<Methods, Name extends keyof Methods, Params> = UnknownMethods extends
  Methods ? (params: Params, request: RpcRequest) => unknown
  : (
    params: ParamsOf<Methods[Name]>,
    request: RpcRequest,
  ) => RawResultOf<Methods[Name]> | Promise<RawResultOf<Methods[Name]>>;
