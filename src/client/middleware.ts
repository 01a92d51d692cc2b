/**
 * Middleware around the calls of a client: retries, traces, credentials.
 *
 * @module
 */

import type { Api, ApiOf, ParamsFor } from "../core/api.ts";
import { compose } from "../core/middleware.ts";
import { aroundCalls } from "../core/outgoing.ts";
import type { OutgoingChanges } from "../core/outgoing.ts";
import type { CallOptions } from "../core/pending_calls.ts";
import type { CallMiddleware, RpcRequest } from "../core/request.ts";
import { describeError } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import type { CallBatch } from "./calls.ts";
import type { JsonRpcClient } from "./json_rpc_client.ts";
import { remoteProxy } from "./remote.ts";

export type { OutgoingChanges } from "../core/outgoing.ts";
export type { CallOptions } from "../core/pending_calls.ts";
export type { CallMiddleware, RpcRequest } from "../core/request.ts";

/** A call as middleware sees it. */
export interface ClientCall<Name extends string = string, Params = unknown> {
  /** Whether the server answers it. */
  readonly kind: "call" | "notification";
  /** The name of the method. */
  readonly method: Name;
  /** The params; `undefined` for none. */
  readonly params: Params;
  /** The options of the call: its timeout, its signal. A notification has none. */
  readonly options: CallOptions;
}

/** What a middleware may change of a call. */
export type CallChanges = OutgoingChanges;

/**
 * One layer around calls. It returns the result of the call, usually that of `next()`. It may call `next`
 * again, and may pass it other params or options.
 *
 * A layer that calls `next` at once, rather than after an `await`, keeps the order in which the program made its
 * calls, and keeps a call of a batch in its batch.
 *
 * @typeParam T `typeof rpc` of the server: `call.method` then narrows `call.params`.
 */
export type ClientMiddleware<T = unknown> = (
  call: ClientCallOf<ApiOf<T>>,
  next: (changes?: CallChanges) => Promise<unknown>,
) => unknown;

/** A call of any method of an API. */
export type ClientCallOf<A extends Api> = string extends keyof A["methods"] ? ClientCall
  : {
    [Name in keyof A["methods"] & string]: ClientCall<Name, ParamsFor<A["methods"], Name>>;
  }[keyof A["methods"] & string];

/** Options of {@linkcode withMiddleware}. */
export interface WithMiddlewareOptions {
  /** What stands between the parts of a method's name, as the client has it. @default {"."} */
  readonly separator?: string;
  /** Where a middleware that fails for a notification is logged. @default {console} */
  readonly logger?: Logger;
  /**
   * Middleware around the methods that the client offers its server, outermost first. It holds for methods that
   * are registered on the client that {@linkcode withMiddleware} returns, and works as middleware of a server does.
   *
   * @default {none}
   */
  readonly incoming?: readonly CallMiddleware[];
}

/**
 * Puts middleware around the calls of a client: `call`, `remote`, `notify`, and the calls of a
 * `batch`, each by itself; and around the methods that it offers its server. Everything else, such as topics
 * and events, is the client's own.
 *
 * @param client The client.
 * @param layers The middleware, outermost first.
 * @param options The separator of the client, a log, and middleware around its methods.
 * @returns The client with middleware, of the same type. Both may be used; closing one closes the other.
 *
 * @example Try again, and say how long each call took
 * ```ts
 * import { JsonRpc, RpcError } from "@x/jsonrpc";
 * import { withMiddleware } from "@x/jsonrpc/middleware";
 * import type { ClientMiddleware } from "@x/jsonrpc/middleware";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * let attempts = 0;
 * const rpc = new JsonRpc().method("flaky", () => {
 *   if (++attempts < 3) throw new RpcError(-32000, "Busy");
 *   return "done";
 * });
 *
 * const retry: ClientMiddleware = async (_call, next) => {
 *   for (let left = 2;; left--) {
 *     try {
 *       return await next();
 *     } catch (error) {
 *       if (!(error instanceof RpcError && error.message === "Busy") || left === 0) throw error;
 *     }
 *   }
 * };
 * const timed: ClientMiddleware = async ({ method }, next) => {
 *   const start = performance.now();
 *   const result = await next();
 *   console.log(`${method}: ${performance.now() - start} ms`);
 *   return result;
 * };
 *
 * await using plain = await testClient(rpc);
 * const client = withMiddleware(plain, [timed, retry]);
 * console.assert(await client.call("flaky") === "done");
 * ```
 */
export function withMiddleware<T, A extends Api>(
  client: JsonRpcClient<T, A>,
  layers: readonly ClientMiddleware<T>[],
  options: WithMiddlewareOptions = {},
): JsonRpcClient<T, A> {
  const { separator = ".", logger = console, incoming = [] } = options;
  const plain = client as unknown as JsonRpcClient;
  const run = aroundCalls(layers as unknown as readonly ClientMiddleware[]);
  const callThrough = (send: typeof plain.call): CallFunction => {
    const sendEach = (each: ClientCall) => send(each.method, each.params, each.options);
    return (method, params, options = NO_OPTIONS) =>
      run({ kind: "call", method, params, options }, sendEach);
  };
  const notifyThrough = (send: typeof plain.notify): NotifyFunction => (method, params) => {
    const done = run({ kind: "notification", method, params, options: {} }, (each) => {
      send(each.method, each.params);
      return Promise.resolve();
    });
    done.catch((error) =>
      logger.error(`Could not send the notification "${method}": ${describeError(error)}`)
    );
  };

  const call = callThrough(plain.call.bind(plain));
  const own: Readonly<Record<PropertyKey, unknown>> = {
    call,
    remote: remoteProxy(call, separator),
    notify: notifyThrough(plain.notify.bind(plain)),
    method: (name: string, handler: ClientMethod) => {
      const run = compose<RpcRequest>(incoming, (request) => handler(request.params, request));
      // Without layers the handler is called directly.
      const through: ClientMethod = (_params, request) => run(request);
      return plain.method(name, incoming.length === 0 ? handler : through);
    },
    batch: (build: (batch: CallBatch) => readonly unknown[]) =>
      plain.batch((batch) => {
        let isOpen = true;
        const results = build({
          // Once the batch was sent, a layer that tries again sends a call of its own.
          call: callThrough(
            ((...args: Parameters<CallFunction>) =>
              isOpen ? batch.call(...args) : plain.call(...args)) as typeof plain.call,
          ),
          notify: notifyThrough((...args) =>
            isOpen ? batch.notify(...args) : plain.notify(...args)
          ),
        } as CallBatch);
        isOpen = false;
        return results;
      }),
  };
  return withMembers(client, own);
}

/**
 * Gives an object with the members given, and else those of the client. The methods of a class with private members
 * run on its own instances alone, so all run on the client. A `Proxy` would be shorter, and would cost each call as
 * much as a layer does.
 */
function withMembers<Client extends object>(
  client: Client,
  own: Readonly<Record<string, unknown>>,
): Client {
  const made: Client = Object.create(Object.getPrototypeOf(client));
  const add = (key: PropertyKey, descriptor: PropertyDescriptor): void => {
    if (Object.hasOwn(made, key)) return;
    Object.defineProperty(made, key, { ...descriptor, configurable: true });
  };
  for (const [key, value] of Object.entries(own)) add(key, { value, writable: true });
  let level: object = client;
  while (level !== Object.prototype) {
    for (const key of Reflect.ownKeys(level)) {
      if (key === "constructor") continue;
      const { value, enumerable } = Object.getOwnPropertyDescriptor(level, key) ?? {};
      // What a program has put on the client may change; what `withMiddleware` has put there is not enumerable.
      const isField = level === client && enumerable === true;
      const isMethod = typeof value === "function" && !isField;
      add(key, isMethod ? { value: runsOn(client, value), writable: true } : fieldOf(client, key));
    }
    level = Object.getPrototypeOf(level);
  }
  return made;
}

/** Not a bound function: V8 takes none for `using` and `await using`. */
function runsOn(client: object, method: (...args: unknown[]) => unknown): typeof method {
  return (...args) => method.apply(client, args);
}

/** A field, or what has a getter and a setter. */
function fieldOf(client: object, key: PropertyKey): PropertyDescriptor {
  return {
    get: () => {
      const value: unknown = Reflect.get(client, key);
      return typeof value === "function" ? value.bind(client) : value;
    },
    // Unlike `Reflect.set`, this throws if there is no setter.
    set: (value) => void Object.assign(client, { [key]: value }),
  };
}

type CallFunction = (method: string, params?: unknown, options?: CallOptions) => Promise<unknown>;
const NO_OPTIONS: CallOptions = Object.freeze({});

type ClientMethod = (params: unknown, request: RpcRequest) => unknown;
type NotifyFunction = (method: string, params?: unknown) => void;
