/**
 * What a server offers, as a type: methods by name, topics by name. This file holds types alone.
 *
 * @module
 */

import type { RpcError } from "../protocol/errors.ts";
import type { HiddenName, Json, NoJson } from "./json.ts";
import type { SchemaTypes } from "./schema.ts";

export type { Json, NoJson, Sendable } from "./json.ts";

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
  /** Functions by name that the server's clients offer to it. */
  readonly client: object;
  /** The type of `connection.state`. */
  readonly state: object;
}

/** What handlers see of their server and its clients. */
export interface Context {
  /** The type of `request.user`. */
  readonly user: unknown;
  /** Functions by name that clients offer to the server. */
  readonly client: object;
  /** The type of `connection.state`. */
  readonly state: object;
}

/** A {@linkcode Context} by its members. */
export interface ContextOf<User, Client extends object, State extends object> extends Context {
  readonly user: User;
  readonly client: Client;
  readonly state: State;
}

/** The type of `connection.state` if the server does not say more. */
export type AnyState = Record<string, unknown>;

/** What a handler sees if nothing is known of its server. */
// `any`, so that the type of `method` can be narrowed to that of any server.
// deno-lint-ignore no-explicit-any -- see above
export type AnyContext = ContextOf<unknown, any, AnyState>;

/** Methods whose types are not known: every name is allowed, nothing is checked. */
export type UnknownMethods = Readonly<Record<string, (params?: unknown) => unknown>>;

/** What handlers see of a server that nothing was said of yet. `JsonRpc<any>` takes every server. */
// deno-lint-ignore no-explicit-any -- for `any` alone
export type ContextFor<Parts> = 0 extends 1 & Parts ? any
  : ContextOf<null, UnknownMethods, AnyState>;

/** The {@linkcode Api} of a server whose type is not known: every name is allowed, nothing is checked. */
// `any`, so that a function which takes a client of any server also takes one whose server is known.
export interface UnknownApi extends Api {
  // deno-lint-ignore no-explicit-any -- see above
  readonly methods: any;
  // deno-lint-ignore no-explicit-any -- see above
  readonly topics: any;
  // deno-lint-ignore no-explicit-any -- see above
  readonly client: any;
}

/** The {@linkcode Api} of a server (`typeof rpc`), or of a type that has `methods` or `topics`. */
export type ApiOf<T> = 0 extends 1 & T ? UnknownApi
  : T extends { readonly "~api": infer A extends Api } ? A
  : unknown extends T ? UnknownApi
  : T extends Api ? T
  : {
    methods: T extends { methods: infer M extends object } ? M : UnknownMethods;
    topics: T extends { topics: infer P extends object } ? P : UnknownApi["topics"];
    user: unknown;
    client: T extends { client: infer C extends object } ? C : UnknownMethods;
    state: object;
  };

/**
 * An {@linkcode Api} as a union of its parts. The compiler looks into the parts only when a client uses them, and
 * adds one in constant time: an intersection of records would cost each method as much as all before it.
 *
 * @typeParam Parts A union of {@linkcode MethodPart}, {@linkcode GroupPart} and {@linkcode TopicPart}.
 */
export interface Offer<Parts, C extends Context> extends Api {
  readonly methods: MethodsOf<Parts>;
  readonly topics: TopicsOf<Parts>;
  readonly user: C["user"];
  readonly client: C["client"];
  readonly state: C["state"];
  /** Never set. */
  readonly "~parts": (part: Parts | undefined) => void;
  /** Never set. */
  readonly "~context": C;
}

/**
 * One method of an {@linkcode Offer}. Its params and result are taken out of the options only when they are needed:
 * a chain of methods would otherwise work them out anew with each link.
 */
export interface MethodPart<Name extends string, Options, Params, Result> extends
  MethodDefinition<
    CallerParams<Options, Params>,
    CallerResult<Options, Result>,
    ErrorsIn<Options>
  > {
  /** The name that callers use. */
  readonly name: Name;
}

/** The method that starts a stream and returns its id, in an {@linkcode Offer}. */
export interface StreamPart<Name extends string, Options, Params, Item>
  extends MethodPart<Name, Options, Params, string> {
  /** Never set. */
  readonly "~item": Item;
}

/** The two methods of a stream: one begins it and returns its id, the other ends it. */
export type StreamParts<
  Name extends string,
  Options extends { readonly unsubscribe: string },
  Params,
  Item,
> =
  | StreamPart<Name, Options, Params, Item>
  // If the name is a plain `string`, the compiler would give this type to every name.
  | (string extends Options["unsubscribe"] ? never
    : MethodPart<Options["unsubscribe"], unknown, readonly [id: string], boolean>);

/** The params that callers pass: what the `params` schema takes, or else what the handler takes. */
export type CallerParams<Options, Params> = Options extends { readonly scalarParams: true }
  ? ScalarParams<InputOr<Options, Params>>
  : InputOr<Options, Params>;

type InputOr<Options, Params> = Options extends { readonly params: infer S }
  ? SchemaTypes<S>["input"]
  : Params;

/** Marks params that may be scalars, because the method says `scalarParams: true`. */
export interface ScalarParams<Params> {
  /** Never set. */
  readonly "~params": Params;
}

/** The result that callers receive: what the `result` schema gives, or else what the handler returns. */
export type CallerResult<Options, Result> = Options extends { readonly result: infer S }
  ? SchemaTypes<S>["output"]
  : Result;

/** A record of methods in an {@linkcode Offer}, perhaps of records of methods. */
export interface GroupPart<Prefix extends string, Group, Options = unknown> {
  readonly prefix: Prefix;
  readonly group: Group;
  readonly options: Options;
}

/** One topic, or all topics of a pattern, in an {@linkcode Offer}. */
export interface TopicPart<Name extends string, Payload> {
  readonly topic: Name;
  readonly payload: Payload;
}

/** A method with its options, made by `method()`, for a record that `addMethods` takes. */
export interface MethodDefinition<Params, Result, Errors = never> {
  /** Never set. */
  readonly "~method": (params: Params) => Result;
  /** Never set. */
  readonly "~errors": Errors;
}

/** What a record may hold as a method: a function, or a definition by `method()`. */
export type MethodIn = ((...args: never) => unknown) | MethodDefinition<never, unknown, unknown>;

type AnyRecord = { readonly [name: string]: unknown };

/** Methods by name: those that were registered one by one, and those of records. */
export type MethodsOf<Parts> = NamedMethods<Parts> & GroupedMethods<Parts>;

/** The methods that were registered by name. */
export type NamedMethods<Parts> = {
  readonly [P in Parts as P extends { readonly name: infer Name extends string } ? Name : never]: P;
};

type GroupedMethods<Parts> = {
  readonly [Name in GroupNames<Parts>]: Grouped<Parts, Name>;
};

type GroupNames<Parts> = Parts extends GroupPart<infer Prefix, infer Group, unknown>
  ? NamesIn<Group, Prefix extends "" ? "" : `${Prefix}.`>
  : never;

type NamesIn<Group, Start extends string> = {
  [Name in keyof Group & string]: Name extends HiddenName ? never
    : Group[Name] extends MethodIn ? `${Start}${Name}`
    : Group extends AnyRecord
      ? Group[Name] extends AnyRecord ? NamesIn<Group[Name], `${Start}${Name}.`> : never
    : never;
}[keyof Group & string];

/** The names of a record that clients see. */
export type VisibleIn<Group> = {
  [Name in keyof Group & string]: Name extends HiddenName ? never
    : Group[Name] extends MethodIn ? Name
    : Group extends AnyRecord ? Group[Name] extends AnyRecord ? Name : never
    : never;
}[keyof Group & string];

type Grouped<Parts, Name extends string> = Parts extends
  GroupPart<infer Prefix, infer Group, infer Options>
  ? Prefix extends "" ? WithErrorsOf<MethodAt<Group, Name>, Options>
  : Name extends `${Prefix}.${infer Rest}` ? WithErrorsOf<MethodAt<Group, Rest>, Options>
  : never
  : never;

type WithErrorsOf<M, Options> = [M] extends [never] ? never
  : [ErrorsIn<Options>] extends [never] ? M
  : MethodDefinition<ParamsOf<M>, RawResultOf<M>, ErrorsOf<M> | ErrorsIn<Options>>;

type MethodAt<Group, Name extends string> = Name extends keyof Group ? Group[Name]
  : Name extends `${infer Head}.${infer Rest}`
    ? Head extends keyof Group ? MethodAt<Group[Head], Rest> : never
  : never;

/** Payloads by topic name. */
export type TopicsOf<Parts> = {
  readonly [P in Parts as P extends TopicPart<infer Name, unknown> ? Name : never]: P extends
    TopicPart<string, infer Payload> ? Payload : never;
};

/** The concrete names that the name or pattern of a topic covers. */
export type TopicNames<Name extends string> = Name extends `${infer Start}*${infer End}`
  ? `${Start}${string}${TopicNames<End>}`
  : Name;

/** The payload of a topic by its concrete name. */
export type PayloadOf<A extends Api, Name> = A extends Offer<infer Parts, infer _C>
  ? EventOf<Parts, Name>
  : unknown extends A["topics"] ? unknown
  : Name extends keyof A["topics"] ? A["topics"][Name]
  : never;

/**
 * The same for the parts of a server. To the compiler, `room.7.log` fits `room.*`, too: this looks for the
 * declarations that have as many parts between dots, unless one has the very name.
 */
export type EventOf<Parts, Name> = Name extends string ? EventIn<Extract<Parts, AnyTopic>, Name>
  : never;

type AnyTopic = TopicPart<string, unknown>;

type EventIn<Topics extends AnyTopic, Name> = [NamedTopic<Topics, Name>] extends [never]
  ? [FittingTopic<Topics, Name>] extends [never]
    ? NoJson<"no such topic: the * of a pattern is one part of the name, without dots">
  : FittingTopic<Topics, Name>["payload"]
  : NamedTopic<Topics, Name>["payload"];

type NamedTopic<Topics extends AnyTopic, Name> = Topics extends AnyTopic
  ? [Topics["topic"], Name] extends [Name, Topics["topic"]] ? Topics : never
  : never;

type FittingTopic<Topics extends AnyTopic, Name> = Topics extends AnyTopic
  // Of a topic whose name is a plain `string`, nothing is known.
  ? string extends Topics["topic"] ? Topics
  : [Name, PartsIn<Name>] extends [Topics["topic"], PartsIn<Topics["topic"]>] ? Topics
  : never
  : never;

type PartsIn<Name> = Name extends `${string}.${infer Rest}` ? [unknown, ...PartsIn<Rest>] : [];

/** Names of methods or topics. */
export type NameOf<Group> = keyof Group & string;

/** The params of a method. */
export type ParamsOf<M> = M extends MethodDefinition<infer Params, unknown, unknown>
  ? Params extends ScalarParams<infer Scalar> ? Scalar
  : Params extends string | number | bigint | boolean
    ? NoJson<"the server refuses scalars without scalarParams: true">
  : Params
  : M extends (...args: infer Args) => unknown ? Args extends readonly [] ? undefined : Args[0]
  : never;

/** The result of a method, before it becomes JSON. */
export type RawResultOf<M> = M extends MethodDefinition<infer _P, infer Result, infer _E>
  ? Awaited<Result>
  : M extends (...args: never) => infer Result ? Awaited<Result>
  : never;

/** The result of a method, as its caller receives it. */
export type ResultOf<M> = Json<RawResultOf<M>>;

/** The arguments of a call after the name. Params are optional if the method accepts `undefined`. */
export type CallArguments<M, Options> = undefined extends ParamsOf<M>
  ? [params?: ParamsOf<M>, options?: Options]
  : [params: ParamsOf<M>, options?: Options];

/** The {@linkcode Context} of an {@linkcode Api}. */
export type ContextIn<A extends Api> = A extends Offer<infer _P, infer C> ? C
  : ContextOf<A["user"], A["client"], A["state"]>;

/** The parts of an {@linkcode Offer} with the methods of a plugin, if it has any. */
export type WithMethods<Parts, Methods extends object> = [keyof Methods] extends [never] ? Parts
  : Parts | GroupPart<"", Methods>;

/** The parts of an {@linkcode Api}, also of one that is written by hand. */
export type PartsOf<A extends Api> = A extends Offer<infer Parts, infer _C> ? Parts
  :
    | { [Name in NameOf<A["methods"]>]: NamedPart<Name, A["methods"][Name]> }[NameOf<A["methods"]>]
    | { [Name in NameOf<A["topics"]>]: TopicPart<Name, A["topics"][Name]> }[NameOf<A["topics"]>];

type NamedPart<Name extends string, M> =
  & MethodDefinition<ParamsOf<M>, RawResultOf<M>, ErrorsOf<M>>
  & { readonly name: Name };

/** A {@linkcode Context} with the users of a plugin, if it has any. */
export type WithUser<C extends Context, User> = unknown extends User ? C
  : ContextOf<User, C["client"], C["state"]>;

/**
 * The arguments of a call to one of these methods by its name. The name is inferred anew so that the compiler does
 * not look at every method while it infers one call.
 */
export type ArgumentsOf<Methods, Name, Options> = [Name] extends [infer N extends string]
  ? CallArguments<MethodNamed<Methods, N>, Options>
  : never;

type MethodNamed<Methods, Name extends string> = Name extends keyof Methods ? Methods[Name] : never;

/** The params of a method by its name. */
export type ParamsFor<Methods, Name> = [Name] extends [infer N extends string]
  ? ParamsOf<MethodNamed<Methods, N>>
  : never;

/** An error that a method declares, as its caller receives it. */
export interface DeclaredError<Name extends string, Code extends number, Data> extends RpcError {
  readonly name: Name;
  readonly code: Code;
  readonly data: Data;
}

/** The errors that options declare, as a union of {@linkcode DeclaredError}. */
export type ErrorsIn<Options> = Options extends { readonly errors: infer Errors }
  ? { [Name in keyof Errors & string]: ErrorOf<Name, Errors[Name]> }[keyof Errors & string]
  : never;

type ErrorOf<Name extends string, Declaration> = Declaration extends
  { readonly code: infer Code extends number }
  ? DeclaredError<Name, Code, Json<ErrorData<Declaration>["output"]>>
  : never;

/** The types of the data of a declared error; `undefined` if it declares none. */
export type ErrorData<Declaration> = Declaration extends { readonly data: infer S } ? SchemaTypes<S>
  : { readonly input: undefined; readonly output: undefined };

/** The errors that a method declares. */
export type ErrorsOf<M> = M extends MethodDefinition<infer _P, infer _R, infer Errors> ? Errors
  : never;
