/**
 * What a handler sees: the call it answers, and the connection the call came through.
 *
 * @module
 */

import { attempt } from "../util/attempt.ts";
import { describeError, quoted } from "../protocol/errors.ts";
import type { Outgoing } from "./channel.ts";
import type { Logger } from "../util/logger.ts";
import { isThenable } from "./middleware.ts";
import type { Middleware } from "./middleware.ts";
import type { CallOptions } from "./pending_calls.ts";
import { RawJson } from "../protocol/message.ts";
import type { Id, RequestMessage } from "../protocol/message.ts";

/** What is known of a peer before its first message; the same for WebSocket and HTTP. */
export interface Handshake {
  /** The whole URL that was asked for. */
  readonly url: string;
  /** The request's headers. */
  readonly headers: Headers;
  /** The peer's address, or that of the nearest proxy; `undefined` where nobody told. */
  readonly remoteAddress: string | undefined;
  /** Whom the connection belongs to. A handshake function may set it; `null` is nobody. */
  user: unknown;
}

let watch: (connection: Connection) => void;

/**
 * One peer: the same for as long as its WebSocket is open, or for the one request of an HTTP POST.
 *
 * @typeParam User What {@linkcode Connection.user} is.
 */
export abstract class Connection<User = unknown> {
  /** How the peer came in. */
  readonly handshake: Handshake;
  /** Where this side writes its log. */
  readonly logger: Logger;
  #user: User;
  // Made on first use: most connections of a busy server never need most of these.
  #id: string | undefined;
  #state: Record<string, unknown> | undefined;
  #controller: AbortController | undefined;

  /** Made by the server or client, not by users. */
  constructor(handshake: Handshake, logger: Logger) {
    this.handshake = handshake;
    this.logger = logger;
    this.#user = handshake.user as User;
  }

  /** A random name that no other connection has. */
  get id(): string {
    return this.#id ??= crypto.randomUUID();
  }

  /** Whom the connection belongs to; `null` for nobody. */
  get user(): User {
    return this.#user;
  }

  /** Room for whatever your handlers want to remember of this peer. */
  get state(): Record<string, unknown> {
    return this.#state ??= Object.create(null) as Record<string, unknown>;
  }

  /** The topics that the peer is subscribed to. */
  get subscriptions(): ReadonlySet<string> {
    return NO_TOPICS;
  }

  /** Events of topics that the peer was not sent, because it did not read fast enough. */
  get dropped(): number {
    return 0;
  }

  /** Aborts when the connection has ended. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.watched();
    }
    if (!this.isOpen) this.#controller.abort();
    return this.#controller.signal;
  }

  /** Gives the connection to a user. What the user may not use is dropped before this returns. */
  login(user: NonNullable<User>): void {
    this.#user = user;
    this.userChanged();
  }

  /** Takes the connection from its user. What a stranger may not use is dropped. */
  logout(): void {
    this.#user = null as User;
    this.userChanged();
  }

  /** Whether messages still pass. */
  abstract readonly isOpen: boolean;

  /** Bytes that were sent to the peer and that the network has not taken yet. */
  abstract readonly bufferedAmount: number;

  /**
   * Calls a method of the peer.
   *
   * @param method Its name.
   * @param params An array (by position), an object (by name), or none.
   * @returns What the peer answered. Rejects as {@linkcode JsonRpcClient.call} does.
   */
  abstract call<Result = unknown>(
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): Promise<Result>;

  /**
   * Tells the peer something that needs no answer. Once the connection has ended this does nothing.
   *
   * @throws {TypeError} Where params have no JSON, or are neither array nor object.
   */
  abstract notify(method: string, params?: unknown): void;

  /** Sends a text that was encoded already, perhaps for many. */
  abstract send(message: Outgoing): void;

  /**
   * Ends the connection. What was sent before still goes out.
   *
   * @param code A close code of RFC 6455. @default {1000}
   * @param reason At most 123 bytes of it arrive.
   */
  abstract close(code?: number, reason?: string): void;

  /** Called when the user of the connection is another than before. */
  protected userChanged(): void {}

  /** Called when somebody wants to know whether the peer is gone; perhaps more than once. */
  protected watched(): void {}

  /** Called once, by the subclass, when the connection has ended. */
  protected ended(): void {
    this.#controller?.abort();
  }

  static {
    watch = (connection) => connection.watched();
  }
}

/** Takes the answer of one message, exactly once for each. */
export interface Outlet {
  /**
   * @param text The answer, or `undefined` where there is none to give.
   * @param request What was answered, where it came so far.
   * @param index Which entry of a batch it was; 0 for a lone message.
   */
  reply(text: string | undefined, request: RpcRequest | undefined, index: number): void;
}

/**
 * One call or notification, as its handler and the middleware around it see it.
 *
 * @typeParam User What {@linkcode RpcRequest.user} is, as far as guards have narrowed it.
 */
export class RpcRequest<User = unknown> {
  /** The peer that calls. */
  readonly connection: Connection<User>;
  /** The method's name, as it was called. */
  readonly method: string;
  /** The call's id; `undefined` for a notification. */
  readonly id: Id | undefined;
  /** The params, as they came. Middleware may put others in their place. */
  params: unknown;
  readonly #outlet: Outlet;
  readonly #index: number;
  #controller: AbortController | undefined;
  #abortReason: unknown;
  #succeeded: boolean | undefined;
  #afterwards: ((succeeded: boolean) => void)[] | undefined;

  /** Made by the responder, not by users. */
  constructor(
    connection: Connection<User>,
    message: RequestMessage,
    outlet: Outlet,
    index: number,
  ) {
    this.connection = connection;
    this.method = message.method;
    this.id = message.id;
    this.params = message.params;
    this.#outlet = outlet;
    this.#index = index;
  }

  /** Whom the connection belongs to, now; `null` for nobody. */
  get user(): User {
    return this.connection.user;
  }

  /** Aborts when the caller cancels the call or is gone: time to stop working for it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
      else watch(this.connection);
    }
    return this.#controller.signal;
  }

  /**
   * Calls a method of the peer that is calling, while its own call is still open. Given up together
   * with it, unless `options.signal` says otherwise.
   *
   * @example The server asks back before it acts
   * ```ts
   * import { connect, JsonRpc } from "@x/jsonrpc";
   * import { linkedSockets } from "@x/jsonrpc/testing";
   *
   * const rpc = new JsonRpc().method("format", async (_params: unknown, request) => {
   *   const sure = await request.call<boolean>("sure", ["Really?"]);
   *   return sure ? "formatted" : "kept";
   * });
   * const [near, far] = linkedSockets();
   * rpc.attach(far);
   *
   * const client = await connect<typeof rpc>(near);
   * client.method("sure", ([question]: [string]) => question !== "Really?");
   * console.assert(await client.call("format") === "kept");
   * await client.close();
   * ```
   */
  call<Result = unknown>(
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): Promise<Result> {
    const signal = options.signal ?? this.signal;
    return this.connection.call<Result>(method, params, { ...options, signal });
  }

  /** Asks the person at the other end: short for `call("confirm", { message })`. */
  confirm(message: string, options?: CallOptions): Promise<boolean> {
    return this.call<boolean>("confirm", { message }, options);
  }

  /** Tells the peer something that needs no answer. */
  notify(method: string, params?: unknown): void {
    this.connection.notify(method, params);
  }

  /** Tells the caller how far its call has come; reaches the `onProgress` of the call. */
  progress(value: unknown): void {
    if (this.id === undefined) return;
    this.connection.notify("$/progress", { token: this.id, value });
  }

  /**
   * Wraps JSON text so that, returned from the handler, it goes into the answer as it is: nothing
   * is parsed or encoded again.
   *
   * @param text One complete JSON value. It is not checked.
   */
  raw(text: string): RawJson {
    return new RawJson(text);
  }

  /**
   * Runs something as soon as the answer to this call has been sent (or need not be).
   *
   * @param run Is told whether the call succeeded: it may have been cancelled, or a layer around
   * the handler may have failed.
   */
  afterwards(run: (succeeded: boolean) => void): void {
    // A layer may answer first, and go inwards later.
    if (this.#succeeded !== undefined) this.#run(run);
    else (this.#afterwards ??= []).push(run);
  }

  /** Whether the caller has cancelled the call or is gone. Cheaper than asking the signal. */
  get aborted(): boolean {
    watch(this.connection);
    return this.#abortReason !== undefined || !this.connection.isOpen;
  }

  /** Whether something waits for {@linkcode RpcRequest.answered}. */
  get hasAfterwards(): boolean {
    return this.#afterwards !== undefined;
  }

  /** Aborts {@linkcode RpcRequest.signal}. Called by the responder. */
  abort(reason: unknown): void {
    this.#abortReason ??= reason;
    this.#controller?.abort(reason);
  }

  /** Gives the answer, if there is one, to whoever waits for it. Called by the responder, once. */
  settle(succeeded: boolean, text: string | undefined): void {
    this.#succeeded = succeeded;
    this.#outlet.reply(text, this as RpcRequest, this.#index);
  }

  /** Runs what was left for {@linkcode RpcRequest.afterwards}. Called once the answer is out. */
  answered(): void {
    const runs = this.#afterwards;
    this.#afterwards = undefined;
    runs?.forEach((run) => this.#run(run));
  }

  #run(run: (succeeded: boolean) => void): void {
    attempt(() => run(this.#succeeded as boolean), (error) => {
      this.connection.logger.error(
        `After the answer to ${quoted(this.method)}: ${describeError(error)}`,
      );
    });
  }
}

/** A function that answers calls. It may return a value or a promise of one. */
// `never` in both places accepts handlers of every kind of params and of every narrowed user.
export type Handler = (params: never, request: never) => unknown;

/** A layer around calls: sees each request, notification, batch entry and subscription. */
export type CallMiddleware = Middleware<RpcRequest>;

/** What a guard is asked. */
export interface GuardQuestion<User = unknown> {
  /** Whom the connection belongs to; `null` for nobody. */
  readonly user: User;
  /** The peer that asks. */
  readonly connection: Connection<User>;
  /** The method or the concrete topic it is about. */
  readonly name: string;
  /** Which of the two. */
  readonly kind: "method" | "topic";
}

/**
 * A middleware that can also say whether a peer may know of a thing at all.
 *
 * @typeParam User What the user is known to be behind this guard.
 */
export interface Guard<User = unknown> {
  (request: RpcRequest, next: () => unknown): unknown;
  /** Answers `true` where the peer may know of the thing; everything else refuses. */
  readonly admits: (question: GuardQuestion) => unknown;
  /** Only a type: what the user is narrowed to. Never set. */
  readonly "~user"?: User;
}

/** The user behind guards: what each of them narrows the user to. */
export type UserBehind<User, Use extends readonly unknown[]> = Use extends
  readonly [infer First, ...infer Rest]
  ? UserBehind<First extends Guard<infer Narrow> ? User & Narrow : User, Rest>
  : User;

/** Whether every guard among these layers admits. One that throws or is asynchronous does not. */
export function admitted(layers: readonly CallMiddleware[], question: GuardQuestion): boolean {
  for (const layer of layers) {
    if ("admits" in layer && !admits(layer as Guard, question)) return false;
  }
  return true;
}

const NO_TOPICS: ReadonlySet<string> = new Set();

function admits(guard: Guard, question: GuardQuestion): boolean {
  const { kind, name, connection: { logger } } = question;
  try {
    const answer = guard.admits(question);
    if (isThenable(answer)) answer.then(undefined, () => {}); // refused below, whatever it becomes
    if (typeof answer !== "boolean") {
      logger.error(`Guard of ${kind} ${quoted(name)} refused: it gave no boolean`);
    }
    return answer === true;
  } catch (error) {
    logger.error(`Guard of ${kind} ${quoted(name)} refused: it threw ${describeError(error)}`);
    return false;
  }
}
