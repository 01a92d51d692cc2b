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
  ArgumentsOf,
  CallArguments,
  Context,
  ContextFor,
  ContextOf,
  DeclaredError,
  EventOf,
  GroupPart,
  MethodDefinition,
  MethodPart,
  MethodsOf,
  NamedMethods,
  Offer,
  ParamsFor,
  ParamsOf,
  PayloadOf,
  RawResultOf,
  ResultOf,
  ScalarParams,
  StreamPart,
  StreamParts,
  TopicNames,
  TopicPart,
  TopicsOf,
  UnknownApi,
  UnknownMethods,
  VisibleIn,
  WithMethods,
  WithUser,
} from "./api.ts";
export type { ErrorClasses, RpcFailureKind } from "../protocol/errors.ts";
export type { RawJson } from "../protocol/message.ts";
export type { Caller, CallerOf, UnknownCaller } from "./caller.ts";
export type { GuardQuestion, NoUsers } from "./guard.ts";
export type { Flat, Json, NoJson, Sendable, SendableGroup } from "./json.ts";
export type {
  CheckedOptions,
  HandlerOf,
  MethodFactory,
  MethodRecord,
  ParamsBound,
  PlainHandler,
  Structured,
} from "./method.ts";
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
