/**
 * A client's calls: from a method and its params to a message, and from its answer to a promise.
 *
 * @module
 */

import type { Api, ArgumentsOf, ParamsFor, ResultOf, UnknownApi } from "../core/api.ts";
import { PendingCalls, toError } from "../core/pending_calls.ts";
import type { CallOptions, CallRequest, SendCall } from "../core/pending_calls.ts";
import { shortMessage } from "../protocol/errors.ts";
import { checkLength } from "../protocol/limits.ts";
import { outgoingText } from "../protocol/message.ts";
import type { Message } from "../protocol/message.ts";
import type { ClientHost } from "./host.ts";
import { ReconnectingConnection } from "./reconnect.ts";

/** Gathers the calls and notifications of one batch. */
export interface CallBatch<A extends Api = UnknownApi> {
  /**
   * Adds a call.
   *
   * @param method The method's name.
   * @param rest Params, then options of the call.
   * @returns What the method gave, as {@linkcode JsonRpcClient.call} does.
   */
  call<Name extends keyof A["methods"] & string>(
    method: Name,
    ...rest: ArgumentsOf<A["methods"], Name, CallOptions>
  ): Promise<ResultOf<A["methods"][Name]>>;
  /**
   * Adds a notification.
   *
   * @param method The method's name.
   * @param params An array (by position), an object (by name), or none.
   */
  notify<Name extends keyof A["methods"] & string>(
    method: Name,
    params?: ParamsFor<A["methods"], Name>,
  ): void;
}

/** The calls of one client. */
export class Calls extends PendingCalls {
  /** The connection that calls are sent on. */
  declare readonly connection: ReconnectingConnection;
  readonly #host: ClientHost;
  // The ids of each batch that waits for its answer, by the first of them.
  readonly #batches = new Map<unknown, readonly number[]>();

  /** @param host The client. */
  constructor(host: ClientHost) {
    super({
      ...host,
      unmatched: (message) => this.#unmatched(message),
      cancel: (id) => this.connection.cancel(id),
      refused: (id, call) => this.connection.retry(id, call),
    });
    this.#host = host;
    this.connection = new ReconnectingConnection(host, this);
  }

  /**
   * Makes a call.
   *
   * @param request The call.
   * @param send Sends its text. @default {as soon as there is a connection}
   * @returns The result.
   */
  override call(
    request: CallRequest,
    send: SendCall = (text, id) => this.connection.send(text, [id]),
  ): Promise<unknown> {
    return super.call(request, send);
  }

  /**
   * Sends a notification.
   *
   * @param method The method's name.
   * @param params An array, an object, or none.
   * @throws {RpcConnectionError} If the client is closed.
   */
  notify(method: string, params?: unknown): void {
    this.connection.send(outgoingText({ method, params }, this.#host.limits.maxMessageBytes), []);
  }

  /**
   * Gathers calls and sends them as one message.
   *
   * @param build Makes the calls.
   * @returns What `build` gave.
   */
  batch<Results>(build: (batch: CallBatch<Api>) => Results): Results {
    const { maxMessageBytes } = this.#host.limits;
    const texts: string[] = [];
    const ids: number[] = [];
    const answers: Promise<unknown>[] = [];
    const batch: CallBatch<Api> = {
      call: (method: string, params?: unknown, options?: CallOptions) => {
        const answer = this.call({ method, params, options }, (text, id) => {
          texts.push(text);
          ids.push(id);
        }) as Promise<never>;
        answers.push(answer);
        return answer;
      },
      notify: (method: string, params?: unknown) => {
        texts.push(outgoingText({ method, params }, maxMessageBytes));
      },
    };
    try {
      const results = build(batch);
      const text = checkLength(`[${texts.join(",")}]`, maxMessageBytes, 'send "batch"');
      // The specification makes an empty batch an error, so none is sent.
      if (texts.length > 0) this.connection.send(text, ids);
      this.#batches.set(ids[0], ids);
      return results;
    } catch (error) {
      for (const id of ids) this.fail(id, error);
      throw error;
    } finally {
      void Promise.allSettled(answers).then(() => this.#batches.delete(ids[0]));
    }
  }

  /** Handles an error without an id: it is about a whole batch, or about a message unknown. */
  #unmatched(message: Message): void {
    const error = toError("a message", message);
    const { firstId } = (error.data ?? {}) as { firstId?: unknown };
    const ids = this.#batches.get(firstId);
    for (const id of ids ?? []) this.fail(id, error);
    if (ids) return;
    this.#host.logger.warn(`The server refused a message: ${shortMessage(error)} (${error.code})`);
  }
}
