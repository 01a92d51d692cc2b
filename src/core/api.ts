/**
 * What a server offers, as a type: methods by name, topics by name. Nothing of this exists at run
 * time.
 *
 * @module
 */

/** What a server offers. `JsonRpc` gathers one; `connect<…>()` also takes one written by hand. */
export interface Api {
  /** Functions by method name, each with the params as its one argument. */
  readonly methods: object;
  /** Payload types by topic name. */
  readonly topics: object;
  /** What `request.user` is. */
  readonly user: unknown;
}

/** A server that offers nothing yet and knows no users. */
// deno-lint-ignore ban-types -- exactly this: a type to intersect with
export type EmptyApi = Offer<{}, {}, null>;

/** What a client may do that was not told what its server offers: everything, unchecked. */
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

/** An {@linkcode Api} by its parts. */
export interface Offer<Methods extends object, Topics extends object, User> extends Api {
  readonly methods: Methods;
  readonly topics: Topics;
  readonly user: User;
}

// The three below take an offer apart and put it together again, by conditional types: those the
// compiler works out at once. `A["methods"] & …` it would put off, and a chain of a hundred methods
// would then be too deep for it.

/** An {@linkcode Api} with more methods. */
export type WithMethods<A extends Api, More extends object> = A extends
  Offer<infer Methods, infer Topics, infer User> ? Offer<Methods & More, Topics, User> : never;

/** An {@linkcode Api} with one topic more. */
export type WithTopic<A extends Api, Name extends string, Payload> = A extends
  Offer<infer Methods, infer Topics, infer User>
  ? Offer<Methods, Topics & { readonly [N in Name]: Payload }, User>
  : never;

/** An {@linkcode Api} with what a plugin brings: methods, and users where it knows any. */
export type WithPlugin<A extends Api, User, More extends object> = A extends
  Offer<infer Methods, infer Topics, infer Before>
  ? Offer<Methods & More, Topics, unknown extends User ? Before : User>
  : never;

/** One method of an {@linkcode Api}. */
export type OneMethod<Name extends string, Params, Result> = {
  readonly [N in Name]: (params: Params) => Awaited<Result>;
};

/** The two methods of a subscription by id: one begins it and answers its id, the other ends it. */
export type SubscriptionMethods<Begin extends string, End extends string, Params> =
  & OneMethod<Begin, Params, string>
  // A name that the compiler does not know would stand for every name.
  & (string extends End ? object : OneMethod<End, readonly [id: string], boolean>);

/** The methods that `addMethods` makes of an object, a class instance or a module. */
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

/** The concrete names that a declared topic stands for, as a type. */
export type TopicNames<Name extends string> = Name extends `${infer Start}*${infer End}`
  ? `${Start}${string}${TopicNames<End>}`
  : Name;

/** Names of methods or topics. */
export type NameOf<Group> = keyof Group & string;

/** What a method takes. */
export type ParamsOf<M> = M extends (params: infer P) => unknown ? P : never;

/** What a method answers. */
export type ResultOf<M> = M extends (params: never) => infer R ? Awaited<R> : never;

/** The arguments of a call after its name: params may be left out where the method needs none. */
export type CallArguments<M, Options> = undefined extends ParamsOf<M>
  ? [params?: ParamsOf<M>, options?: Options]
  : [params: ParamsOf<M>, options?: Options];

/** Methods as functions; names with dots become nested records. */
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
  // A server of unknown api: every name may be a method and a group.
  ? Remote<Methods, Options>
  : `${Head}.` extends PrefixOf<NameOf<Methods>, Head>
    ? Remote<{ readonly [N in NameOf<Methods> as Tail<N, Head>]: Methods[N] }, Options>
  : unknown;

type PrefixOf<Name extends string, Head extends string> = Name extends `${Head}.${string}`
  ? `${Head}.`
  : never;

type Tail<Name extends string, Head extends string> = Name extends `${Head}.${infer Rest}` ? Rest
  : never;
