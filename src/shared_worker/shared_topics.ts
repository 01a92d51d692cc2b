/**
 * The topics of the shared connection. The server sees one subscription to each, however many tabs there are.
 *
 * @module
 */

import { RpcServerError } from "../protocol/errors.ts";
import type { IncomingRequest } from "../core/request.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import { SharedTopic } from "./shared_topic.ts";
import type { TopicMessage } from "./shared_topic.ts";
import type { Tab } from "./tab.ts";

/** What the topics need of the shared connection. */
export interface SharedTopicsHost {
  /** Topics that one tab may be subscribed to. */
  readonly maxSubscriptions: number;
  /** Calls the server. */
  call(request: CallRequest): Promise<unknown>;
}

/** What a tab asks for with `subscribe`. */
interface SubscribeParams {
  readonly topics?: unknown;
  readonly topic?: unknown;
  readonly recover?: unknown;
  readonly retained?: unknown;
  readonly ages?: unknown;
  readonly since?: Readonly<Record<string, unknown>> | null;
  readonly last?: Readonly<Record<string, unknown>> | null;
}

/** What the server answers. */
interface SubscribeAnswer {
  readonly subscriptions?: unknown;
  readonly positions?: Readonly<Record<string, unknown>>;
  readonly recovered?: Readonly<Record<string, unknown>>;
  readonly ages?: Readonly<Record<string, unknown>>;
}

/** One `subscribe` call of a tab. */
interface Asked {
  readonly tab: Tab;
  readonly request: IncomingRequest;
  readonly names: readonly string[];
  readonly params: SubscribeParams;
}

/** The topics of one shared connection. */
export class SharedTopics {
  readonly #host: SharedTopicsHost;
  readonly #topics = new Map<string, SharedTopic>();
  // The server is asked one thing after the other, so that each answer tells what follows it.
  #last: Promise<unknown> = Promise.resolve();

  /** @param host The shared connection. */
  constructor(host: SharedTopicsHost) {
    this.#host = host;
  }

  /**
   * Subscribes a tab.
   *
   * @param tab The tab.
   * @param request Its call.
   * @returns The answer, as the server would give it to the tab alone. Rejects with what the server refuses the
   * call with.
   */
  subscribe(tab: Tab, request: IncomingRequest): Promise<unknown> {
    const params = paramsOf(request.params);
    const names = namesOf(request.params);
    // The server says what is wrong.
    if (names === undefined) {
      return this.#host.call({ method: "subscribe", params: request.params, connectionOnly: true });
    }
    const { maxSubscriptions } = this.#host;
    const added = names.filter((name) => !tab.topics.has(name));
    if (tab.topics.size + added.length > maxSubscriptions) {
      const message = `Too many subscriptions: ${maxSubscriptions} a tab (maxSubscriptions)`;
      throw new RpcServerError(-32006, message);
    }
    return this.#inTurn(() => this.#subscribe({ tab, request, names, params }));
  }

  /**
   * Ends subscriptions of a tab.
   *
   * @param tab The tab.
   * @param params The params of its call.
   * @returns The topics that it still has.
   */
  unsubscribe(tab: Tab, params: unknown): string[] | Promise<string[]> {
    // A subscribe that was sent before comes first.
    return this.#inTurn(async () => {
      for (const name of namesOf(params) ?? []) this.#leave(name, tab);
      await this.#release();
      return [...tab.topics];
    });
  }

  /** Ends all subscriptions of a tab that is gone. */
  leaveAll(tab: Tab): void {
    for (const name of [...tab.topics]) this.#leave(name, tab);
    void this.#inTurn(() => this.#release()).catch(() => {});
  }

  /** Handles an event with its position. */
  message(params: unknown): void {
    const message = (params ?? {}) as TopicMessage;
    this.#topics.get(message.topic as string)?.message(message);
  }

  /**
   * Handles the news that the server has removed a topic.
   *
   * @param name The topic.
   * @returns The tabs that were subscribed to it.
   */
  removed(name: string): readonly Tab[] {
    const topic = this.#topics.get(name);
    const tabs = [...topic?.tabs ?? []];
    for (const tab of tabs) tab.topics.delete(name);
    topic?.end();
    this.#topics.delete(name);
    return tabs;
  }

  /** Forgets everything: the connection has ended. */
  clear(): void {
    for (const topic of this.#topics.values()) topic.end();
    this.#topics.clear();
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run, run);
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #subscribe(asked: Asked): Promise<unknown> {
    const { tab, request, names, params } = asked;
    if (request.aborted) return [];
    for (const name of names) {
      const topic = this.#topics.get(name);
      // The server goes on for all from where a tab that is behind stands: others would miss the rest.
      await topic?.catchingUp;
    }
    const toAsk = names.filter((name) => !this.#joinsHere(name, asked));
    let answer: unknown;
    const here = { positions: {}, recovered: {} };
    if (toAsk.length === 0) answer = this.#granted(asked, here);
    else {
      await this.#host.call({
        ...subscribeCall(toAsk, params),
        onResult: (result) => {
          const given = paramsOf(result) as SubscribeAnswer;
          // The tab has cancelled, or is gone: then nothing may be left of it.
          if (!request.aborted && tab.isOpen) {
            answer = this.#granted(asked, given, toAsk);
            tab.answerNow(request, answer);
          }
          // If the tab is gone, these have no tab and are released.
          for (const name of toAsk) if (includes(given.subscriptions, name)) this.#topicOf(name);
        },
      });
      await this.#release();
    }
    return answer;
  }

  /** Whether a tab can go on where the topic stands, without a question to the server. */
  #joinsHere(name: string, { params }: Asked): boolean {
    const topic = this.#topics.get(name);
    const since = memberOf(params.since, name);
    return params.recover === true && topic !== undefined && !topic.isEmpty &&
      topic.catchingUp === undefined && since !== undefined && since === topic.position;
  }

  /** Adds the tab to the topics that the server has granted, and gives the answer to the tab. */
  #granted(asked: Asked, result: SubscribeAnswer, toAsk: readonly string[] = []): unknown {
    const { tab, names, params } = asked;
    const recover = params.recover === true;
    const positions: Record<string, unknown> = {};
    const recovered: Record<string, unknown> = {};
    for (const name of names) {
      const isAsked = toAsk.includes(name);
      if (isAsked && !includes(result.subscriptions, name)) continue;
      const topic = this.#topicOf(name);
      if (isAsked) {
        positions[name] = memberOf(result.positions, name);
        recovered[name] = memberOf(result.recovered, name);
        topic.join(tab, {
          recover,
          since: recover ? memberOf(params.since, name) : undefined,
          position: positions[name],
          recovered: recovered[name] !== false,
        });
      } else {
        positions[name] = topic.position;
        recovered[name] = true;
        topic.joinHere(tab);
      }
      tab.topics.add(name);
    }
    const subscriptions = [...tab.topics];
    if (!recover && params.ages !== true) return subscriptions;
    return {
      subscriptions,
      ...recover && { positions, recovered },
      ...params.ages === true && { ages: result.ages ?? {} },
    };
  }

  #topicOf(name: string): SharedTopic {
    let topic = this.#topics.get(name);
    if (topic === undefined) this.#topics.set(name, topic = new SharedTopic(name));
    return topic;
  }

  #leave(name: string, tab: Tab): void {
    tab.topics.delete(name);
    this.#topics.get(name)?.leave(tab);
  }

  /** Unsubscribes from topics that no tab wants any more. */
  async #release(): Promise<void> {
    const unused = [...this.#topics.values()].filter(({ isEmpty }) => isEmpty);
    if (unused.length === 0) return;
    for (const topic of unused) {
      topic.end();
      this.#topics.delete(topic.name);
    }
    const params = unused.map(({ name }) => name);
    await this.#host.call({ method: "unsubscribe", params, connectionOnly: true });
  }
}

/** The call to the server. Its events always carry positions: each tab then gets what it asked for. */
function subscribeCall(topics: readonly string[], params: SubscribeParams): CallRequest {
  const { recover, retained, since, last, ages } = params;
  return {
    method: "subscribe",
    params: {
      topics,
      recover: true,
      // Once more, for this tab, if the connection is subscribed already.
      retained: retained !== false,
      ...recover === true && { since: since ?? undefined },
      last: last ?? undefined,
      ages: ages === true,
    },
    connectionOnly: true,
    options: { timeoutMs: 0 },
  };
}

/** Params, or an answer, whose members can be read; empty if the other side has sent something else. */
function paramsOf(params: unknown): SubscribeParams {
  return typeof params === "object" && params !== null && !Array.isArray(params) ? params : {};
}

/** The topics that params name; `undefined` if they name none in a way that the server would understand. */
function namesOf(params: unknown): string[] | undefined {
  if (params === undefined || params === null) return [];
  const { topics, topic } = paramsOf(params);
  const given = topics ?? topic ?? params;
  const names = typeof given === "string" ? [given] : given;
  const isValid = Array.isArray(names) && names.every((name) => typeof name === "string");
  return isValid ? [...new Set(names as string[])] : undefined;
}

function memberOf(
  record: Readonly<Record<string, unknown>> | null | undefined,
  name: string,
): unknown {
  return record && Object.hasOwn(record, name) ? record[name] ?? undefined : undefined;
}

function includes(names: unknown, name: string): boolean {
  return Array.isArray(names) && names.includes(name);
}
