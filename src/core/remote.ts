/**
 * The methods of a server as functions in nested records, as types. This file holds types alone.
 *
 * @module
 */

import type {
  Api,
  CallArguments,
  GroupPart,
  MethodIn,
  NamedMethods,
  NameOf,
  Offer,
  ResultOf,
  VisibleIn,
} from "./api.ts";

/** Methods as functions. Names with dots become nested records. */
export type Remote<A extends Api, Options> = A extends Offer<infer Parts, infer _C>
  ? RemoteNamed<NamedMethods<Parts>, Options> & RemoteGroups<Parts, Options>
  : RemoteNamed<A["methods"], Options>;

/** The records of methods of a server, as functions. */
export type RemoteGroups<Parts, Options> = [Parts] extends [never] ? unknown
  : Intersection<
    Parts extends GroupPart<infer Prefix, infer Group, unknown>
      ? { readonly box: RemoteAt<Prefix, RemoteGroup<Group, VisibleIn<Group>, Options>> }
      : never
  >;

// deno-lint-ignore no-explicit-any -- a distributive conditional type needs a type that always fits
type Intersection<Boxes> = (Boxes extends any ? (box: Boxes) => void : never) extends
  (box: infer Box extends { readonly box: unknown }) => void ? Box["box"] : unknown;

/** Functions below a prefix. */
export type RemoteAt<Prefix extends string, Inner> = Prefix extends "" ? Inner
  : Prefix extends `${infer Head}.${infer Rest}` ? { readonly [H in Head]: RemoteAt<Rest, Inner> }
  : { readonly [H in Prefix]: Inner };

/** The methods of one record, as functions. */
// Not `as`: a mapped type over a subset of the keys keeps their declarations, so that "go to definition" leads
// from the client to the handler.
export type RemoteGroup<Group, Names extends keyof Group, Options> = {
  readonly [Name in Names]: Group[Name] extends MethodIn ? RemoteMethod<Group[Name], Options>
    : RemoteGroup<Group[Name], VisibleIn<Group[Name]>, Options>;
};

/** One method as a function. */
export type RemoteMethod<M, Options> = (...args: CallArguments<M, Options>) => Promise<ResultOf<M>>;

/** Methods by name as functions. Names with dots become nested records. */
export type RemoteNamed<Methods, Options> = {
  readonly [Head in HeadOf<NameOf<Methods>>]:
    & (Head extends keyof Methods ? RemoteMethod<Methods[Head], Options> : unknown)
    & RemoteBelow<Methods, Head, Options>;
};

type HeadOf<Name extends string> = Name extends `${infer Head}.${string}` ? Head : Name;

/** The methods whose names go on after a dot. */
export type RemoteBelow<Methods, Head extends string, Options> = string extends Head
  // If the server's type is not known, every name may be a method and a group.
  ? RemoteNamed<Methods, Options>
  : `${Head}.` extends PrefixOf<NameOf<Methods>, Head>
    ? RemoteNamed<{ readonly [N in NameOf<Methods> as Tail<N, Head>]: Methods[N] }, Options>
  : unknown;

type PrefixOf<Name extends string, Head extends string> = Name extends `${Head}.${string}`
  ? `${Head}.`
  : never;

type Tail<Name extends string, Head extends string> = Name extends `${Head}.${infer Rest}` ? Rest
  : never;
