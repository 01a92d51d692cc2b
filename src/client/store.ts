/**
 * A topic as a store for React, Svelte and Vue, and a call as a query of TanStack Query. No framework is
 * imported.
 *
 * @module
 */

import type { Api, ParamsFor, PayloadOf, ResultOf } from "../core/api.ts";
import type { Json } from "../core/json.ts";
import type { JsonRpcClient } from "./json_rpc_client.ts";
import type { SubscribeOptions } from "./topic_subscription.ts";
import type { Subscription } from "./topic_subscriptions.ts";

/** Options of {@linkcode topicStore}. */
export interface TopicStoreOptions<Data> extends SubscribeOptions {
  /** The value before the first event, and on a server that renders pages. @default {undefined} */
  readonly initial?: Data;
}

/**
 * The last event of a topic. Its functions need no `this`.
 *
 * @typeParam Data The value: an event, or `undefined` before the first one if the store has no `initial`.
 */
export interface TopicStore<Data> {
  /**
   * Listens to the value: React's `useSyncExternalStore`, and Svelte's `$store`, call this. The store
   * subscribes to the topic with its first listener, and unsubscribes after its last one.
   *
   * @param listener Called at once, and with each event.
   * @returns Stops listening.
   */
  readonly subscribe: (listener: (value: Data) => void) => () => void;
  /** Gives the value: the last event, or `initial`. */
  readonly getSnapshot: () => Data;
  /** Gives `initial`, for pages that a server renders. */
  readonly getServerSnapshot: () => Data;
}

/**
 * Makes a store of a topic. All components that show the topic should share it.
 *
 * @param client The client.
 * @param topic The topic's name.
 * @param options The value before the first event, and the options of a subscription. Without `onError` a
 * failure goes to `console.error`; the next first listener tries again.
 * @returns The store. It has not subscribed yet.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { topicStore } from "@x/jsonrpc/store";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().topic("clock", { retain: true });
 * rpc.publish("clock", "noon");
 * await using client = await testClient(rpc);
 *
 * const clock = topicStore(client, "clock", { initial: "…" });
 * // React: const time = useSyncExternalStore(clock.subscribe, clock.getSnapshot, clock.getServerSnapshot);
 * // Svelte: <p>{$clock}</p>
 * const seen: unknown[] = [];
 * const stop = clock.subscribe((time) => seen.push(time));
 * while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve));
 * console.assert(seen.join() === "…,noon");
 * stop();
 * ```
 */
export function topicStore<T, A extends Api, Name extends keyof A["topics"] & string>(
  client: JsonRpcClient<T, A>,
  topic: Name,
  options: TopicStoreOptions<Json<PayloadOf<A, Name>>> & {
    readonly initial: Json<PayloadOf<A, Name>>;
  },
): TopicStore<Json<PayloadOf<A, Name>>>;
export function topicStore<T, A extends Api, Name extends keyof A["topics"] & string>(
  client: JsonRpcClient<T, A>,
  topic: Name,
  options?: TopicStoreOptions<Json<PayloadOf<A, Name>>>,
): TopicStore<Json<PayloadOf<A, Name>> | undefined>;
export function topicStore<Data>(
  client: JsonRpcClient,
  topic: string,
  options: TopicStoreOptions<Data> = {},
): TopicStore<Data | undefined> {
  const { initial, ...rest } = options;
  const subscriptionOptions: SubscribeOptions = { onError: reportError, ...rest };
  const listeners = new Set<{ readonly call: (value: Data | undefined) => void }>();
  let value: Data | undefined = initial;
  let subscription: Promise<Subscription | undefined> | undefined;

  function start(): void {
    subscription ??= client.subscribe(topic, (data) => {
      value = data as Data;
      for (const { call } of [...listeners]) call(value);
    }, subscriptionOptions).catch((error: Error) => {
      subscription = undefined;
      subscriptionOptions.onError?.(error);
      return undefined;
    });
  }
  function stopIfUnused(): void {
    if (listeners.size > 0) return;
    const ended = subscription;
    subscription = undefined;
    // A connection that has ended has no subscription to end.
    ended?.then((each) => each?.unsubscribe()).catch(() => {});
  }
  return {
    subscribe(listener) {
      // A record, since a component may pass one function twice.
      const own = { call: listener };
      listeners.add(own);
      start();
      listener(value);
      return () => {
        // Later: React's strict mode stops and listens again at once.
        if (listeners.delete(own) && listeners.size === 0) queueMicrotask(stopIfUnused);
      };
    },
    getSnapshot: () => value,
    getServerSnapshot: () => initial,
  };
}

/** A query of TanStack Query. */
export interface QueryOptions<Result> {
  /** The method and its params. */
  readonly queryKey: readonly [method: string, params: unknown];
  /** Calls the method. TanStack Query aborts the signal if nobody needs the result any more. */
  readonly queryFn: (context: { readonly signal?: AbortSignal }) => Promise<Result>;
}

/**
 * Makes the options of a query: `useQuery(queryOptions(client, "users.get", { id: 7 }))`.
 *
 * @param client The client.
 * @param method The method's name.
 * @param params The params.
 * @returns The options.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { queryOptions } from "@x/jsonrpc/store";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("double", ([n]: [number]) => 2 * n);
 * await using client = await testClient(rpc);
 *
 * const { queryKey, queryFn } = queryOptions(client, "double", [4]);
 * console.assert(JSON.stringify(queryKey) === '["double",[4]]');
 * console.assert(await queryFn({}) === 8);
 * ```
 */
export function queryOptions<T, A extends Api, Name extends keyof A["methods"] & string>(
  client: JsonRpcClient<T, A>,
  method: Name,
  params?: ParamsFor<A["methods"], Name>,
): QueryOptions<ResultOf<A["methods"][Name]>> {
  const call = client.call.bind(client) as unknown as (
    method: string,
    params: unknown,
    options: { readonly signal: AbortSignal | undefined },
  ) => Promise<ResultOf<A["methods"][Name]>>;
  return {
    queryKey: [method, params ?? null],
    queryFn: ({ signal }) => call(method, params, { signal }),
  };
}

function reportError(error: Error): void {
  console.error(error);
}
