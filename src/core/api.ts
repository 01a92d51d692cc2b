/**
 * What a server offers, as a type: methods by name, topics by name. This file holds types alone.
 *
 * @module
 */

/**
 * What a server offers. `JsonRpc` collects it in its type parameter; `connect<…>()` also takes one that is written
 * by hand.
 */
export interface Api {
  /** Functions by method name. Each takes the params as its one argument. */
  readonly methods: object;
  /** Payload types by topic name. */
  readonly topics: object;
  /** The type of `request.user`. */
  readonly user: unknown;
}

/** The {@linkcode Api} of a server that has no methods, topics or users yet. */
// deno-lint-ignore ban-types -- exactly this: a type to intersect with
export type EmptyApi = Offer<{}, {}, null>;

/** The {@linkcode Api} of a server whose type is not known: every name is allowed, nothing is checked. */
export interface UnknownApi extends Api {
  readonly methods: Readonly<Record<string, (params?: unknown) => unknown>>;
  readonly topics: Readonly<Record<string, unknown>>;
}

/** The {@linkcode Api} of a server (`typeof rpc`), or of a type that has `methods` or `topics`. */
export type ApiOf<T> = T extends { readonly "~api": infer A extends Api } ? A
  : unknown extends T ? UnknownApi
  : {
    methods: T extends { methods: infer M extends object } ? M : UnknownApi["methods"];
    topics: T extends { topics: infer P extends object } ? P : UnknownApi["topics"];
    user: unknown;
  };

/** An {@linkcode Api} made of its parts. */
export interface Offer<Methods extends object, Topics extends object, User> extends Api {
  readonly methods: Methods;
  readonly topics: Topics;
  readonly user: User;
}

// The three types below are conditional because the compiler resolves those at once. It would defer
// `A["methods"] & …`, and a chain of a hundred methods would then exceed its depth limit.

/** An {@linkcode Api} with more methods. */
export type WithMethods<A extends Api, More extends object> = A extends
  Offer<infer Methods, infer Topics, infer User> ? Offer<Methods & More, Topics, User> : never;

/** An {@linkcode Api} with one more topic. */
export type WithTopic<A extends Api, Name extends string, Payload> = A extends
  Offer<infer Methods, infer Topics, infer User>
  ? Offer<Methods, Topics & { readonly [N in Name]: Payload }, User>
  : never;

/** An {@linkcode Api} with the methods of a plugin, and with its users if it has any. */
export type WithPlugin<A extends Api, User, More extends object> = A extends
  Offer<infer Methods, infer Topics, infer Before>
  ? Offer<Methods & More, Topics, unknown extends User ? Before : User>
  : never;

/** One method of an {@linkcode Api}. */
export type OneMethod<Name extends string, Params, Result> = {
  readonly [N in Name]: (params: Params) => Awaited<Result>;
};

/** The two methods of a stream: one starts it and returns its id, the other ends it. */
export type SubscriptionMethods<Begin extends string, End extends string, Params> =
  & OneMethod<Begin, Params, string>
  // If the name is a plain `string`, the compiler would give this type to every name.
  & (string extends End ? object : OneMethod<End, readonly [id: string], boolean>);

/** The methods that `addMethods` finds in an object, a class instance or a module. */
export type GroupOf<Thing, Prefix extends string> = {
  readonly [
    N in NameOf<Thing> as Thing[N] extends AnyFunction ? GroupName<N, Prefix> : never
  ]: Thing[N] extends (params: infer P, ...rest: never) => infer R ? (params: P) => Awaited<R>
    : never;
};

type AnyFunction = (...args: never) => unknown;

type GroupName<Name extends string, Prefix extends string> = Name extends `_${string}` | "default"
  ? never
  : `${Prefix}${Name}`;

/** The concrete names that the name or pattern of a topic covers. */
export type TopicNames<Name extends string> = Name extends `${infer Start}*${infer End}`
  ? `${Start}${string}${TopicNames<End>}`
  : Name;

/** Names of methods or topics. */
export type NameOf<Group> = keyof Group & string;

/** The params of a method. */
export type ParamsOf<M> = M extends (params: infer P) => unknown ? P : never;

/** The result of a method. */
export type ResultOf<M> = M extends (params: never) => infer R ? Awaited<R> : never;

/** The arguments of a call after the name. Params are optional if the method accepts `undefined`. */
export type CallArguments<M, Options> = undefined extends ParamsOf<M>
  ? [params?: ParamsOf<M>, options?: Options]
  : [params: ParamsOf<M>, options?: Options];

/** Methods as functions. Names with dots become nested records. */
export type Remote<Methods, Options> = {
  readonly [Head in HeadOf<NameOf<Methods>>]:
    & RemoteMethod<Methods, Head, Options>
    & RemoteGroup<Methods, Head, Options>;
};

type HeadOf<Name extends string> = Name extends `${infer Head}.${string}` ? Head : Name;

type RemoteMethod<Methods, Name extends string, Options> = Name extends keyof Methods
  ? (...args: CallArguments<Methods[Name], Options>) => Promise<ResultOf<Methods[Name]>>
  : unknown;

type RemoteGroup<Methods, Head extends string, Options> = string extends Head
  // If the server's type is not known, every name may be a method and a group.
  ? Remote<Methods, Options>
  : `${Head}.` extends PrefixOf<NameOf<Methods>, Head>
    ? Remote<{ readonly [N in NameOf<Methods> as Tail<N, Head>]: Methods[N] }, Options>
  : unknown;

type PrefixOf<Name extends string, Head extends string> = Name extends `${Head}.${string}`
  ? `${Head}.`
  : never;

type Tail<Name extends string, Head extends string> = Name extends `${Head}.${infer Rest}` ? Rest
  : never;
