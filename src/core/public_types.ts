/**
 * The types behind `JsonRpc` and `JsonRpcClient`: what the compiler writes into declarations of `rpc` and `client`,
 * and what a contract in a file of its own needs. It holds types alone.
 *
 * @example A contract that a page can import without the server
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import type { ApiOf, Json } from "@x/jsonrpc/types";
 *
 * const rpc = new JsonRpc().method("now", () => new Date());
 * type Contract = ApiOf<typeof rpc>;
 * const now: Json<Date> = new Date().toJSON();
 * ```
 *
 * @module
 */

export type {
  AnyContext,
  AnyState,
  Api,
  ApiOf,
  CallArguments,
  Context,
  ContextFor,
  ContextOf,
  DeclaredError,
  GroupPart,
  MethodDefinition,
  MethodPart,
  NamedMethods,
  Offer,
  ParamsOf,
  ResultOf,
  ScalarParams,
  StreamPart,
  StreamParts,
  TopicPart,
  TopicsOf,
  UnknownApi,
  UnknownMethods,
  VisibleIn,
} from "./api.ts";
export type { ErrorClasses } from "../protocol/errors.ts";
export type { Caller, CallerOf, UnknownCaller } from "./caller.ts";
export type { GuardQuestion, NoUsers } from "./guard.ts";
export type { Json, NoJson } from "./json.ts";
export type { HandlerOf, MethodFactory, MethodRecord, Structured } from "./method.ts";
export type {
  Remote,
  RemoteAt,
  RemoteBelow,
  RemoteGroup,
  RemoteGroups,
  RemoteMethod,
  RemoteNamed,
} from "./remote.ts";
export type { ClientHandler, ErrorDeclaration, ErrorMaker } from "./request.ts";
export type { SchemaIssue, SchemaResult } from "./schema.ts";
export type { EventStats, ServerStats } from "./stats.ts";
