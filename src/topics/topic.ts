/**
 * One topic that somebody hears: its subscribers, and what comes for them.
 *
 * @module
 */

import { SharedText } from "../core/channel.ts";
import type { Connection } from "../core/request.ts";
import type { Backlog } from "./slow_subscribers.ts";
import type { BrokerEvent, BrokerHistory, BrokerSink, HistoryQuery, Position } from "../brokers/broker.ts";
import type { Declaration } from "./registry.ts";
import type { Ear, Ears } from "./broker_listener.ts";
import { before } from "./subscriber.ts";
import type { Member, Newest, Source } from "./subscriber.ts";
import { PlainMember } from "./plain_subscriber.ts";
import { RecoveringMember } from "./recovering_subscriber.ts";
import type { Since } from "./recovering_subscriber.ts";
import { then } from "../util/soon.ts";
import type { Soon } from "../util/soon.ts";
import { TopicEvent } from "./event.ts";
import type { TopicForm } from "./event.ts";
import { isFresh } from "./options.ts";
import type { SlowPolicy } from "./options.ts";

/** How a connection wants to hear a topic. */
export interface Joining {
  /** With positions. */
  readonly recover: boolean;
  /** What came after this position, too. */
  readonly since: Since;
}

/** A topic with subscribers. */
export class Topic implements BrokerSink, Source {
  readonly form: TopicForm;
  readonly backlog: Backlog;
  /** How it was declared. */
  declaration: Declaration;
  position: Position = NOWHERE;
  /** How often an event went to a connection. */
  deliveries = 0;
  readonly #ears: Ears;
  #ear: Ear | undefined;
  // Those to whom events are simply passed on: most of them, as a rule.
  readonly #plain = new Set<Connection>();
  readonly #members = new Map<Connection, Member>();

  /** Hears nothing until somebody joins. */
  constructor(declaration: Declaration, form: TopicForm, ears: Ears, backlog: Backlog) {
    this.declaration = declaration;
    this.form = form;
    this.#ears = ears;
    this.backlog = backlog;
  }

  get slow(): SlowPolicy {
    return this.declaration.options.slow ?? "close";
  }

  /** Goes by another declaration from now on. */
  redeclare(declaration: Declaration): void {
    this.declaration = declaration;
    if (this.slow === "close") return;
    // Nobody looks whether those read to whom events are simply passed on.
    for (const connection of this.#plain) {
      const member = new PlainMember(connection, this, false);
      this.#plain.delete(connection);
      this.#members.set(connection, member);
      member.release();
    }
  }

  /** Whether nobody is subscribed. */
  get isEmpty(): boolean {
    return this.#plain.size === 0 && this.#members.size === 0;
  }

  /** Those who hear it. */
  *[Symbol.iterator](): IterableIterator<Connection> {
    yield* this.#plain;
    for (const member of this.#members.values()) if (!member.joining) yield member.connection;
  }

  /** Those who hear it, and those who are about to. */
  all(): Connection[] {
    return [...this.#plain, ...this.#members.keys()];
  }

  /** Whether a connection hears what comes, and there is no more to it. */
  hasPlain(connection: Connection): boolean {
    return this.#plain.has(connection);
  }

  /** The share of a connection, where there is more to it than hearing what comes. */
  member(connection: Connection): Member | undefined {
    return this.#members.get(connection);
  }

  /** Begins a connection's share; its events are held back until `release`. */
  join(connection: Connection, { recover, since }: Joining): Member {
    const newcomer = !this.#members.has(connection) && !this.#plain.has(connection);
    this.#remove(connection);
    const member = recover
      ? new RecoveringMember(connection, this, since, newcomer)
      : new PlainMember(connection, this, newcomer);
    this.#members.set(connection, member);
    member.ready = this.#begin(member);
    if (member.ready instanceof Promise) member.ready.catch(() => {}); // whoever waits sees it
    return member;
  }

  /** Ends the share of a connection. */
  leave(connection: Connection): void {
    this.#remove(connection);
    if (this.isEmpty) this.close();
  }

  /** Hears nothing any more. */
  close(): void {
    if (this.#ear !== undefined) this.#ears.close(this.form.name, this.#ear);
    this.#ear = undefined;
  }

  event(event: BrokerEvent): void {
    const { position } = event;
    // An engine that begins anew and does not say so: what was between is lost.
    if (position.epoch !== this.position.epoch && this.position !== NOWHERE) {
      this.gap(before(position));
    }
    this.position = position;
    this.deliveries += this.#plain.size + this.#members.size;
    if (this.#members.size > 0) return this.#spread(TopicEvent.of(this.form, event));
    const text = this.form.plain(event.data);
    if (this.form.isTooLong(text)) return this.#spread(TopicEvent.of(this.form, event));
    const message = new SharedText(text);
    for (const connection of this.#plain) connection.send(message);
  }

  gap(position: Position): void {
    this.position = position;
    const event = new TopicEvent(this.form, position, undefined);
    // Those who hear it plainly were promised nothing.
    for (const member of this.#members.values()) if (member.recovers) member.take(event);
  }

  history(query: HistoryQuery): Soon<BrokerHistory> {
    return this.#ears.broker.history(this.form.name, this.declaration.keep, query);
  }

  newest(): Soon<Newest> {
    const { state } = this.declaration.options;
    if (!state) return { from: this.position, last: undefined };
    return then(this.history({ limit: 1 }), ({ events, position }) => {
      const last = events.at(-1);
      if (last === undefined || !isFresh(last.at, state)) {
        return { from: position, last: undefined };
      }
      return { from: before(last.position), last };
    });
  }

  settled(member: Member): void {
    const { connection } = member;
    // The fast way, for those who take everything as it comes.
    if (member.recovers || this.slow !== "close") return;
    this.#members.delete(connection);
    this.#plain.add(connection);
  }

  #begin(member: Member): Soon<unknown> {
    const isHere = () => this.#members.get(member.connection) === member;
    try {
      return then(this.#hear(), () => isHere() ? member.load() : undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Makes sure that events come here. */
  #hear(): Soon<unknown> {
    if (this.#ear === undefined) {
      const ear = this.#ears.open(this.form.name, this.declaration.keep, this);
      this.#ear = ear;
      const failed = (): void => {
        // The next to join tries again.
        if (this.#ear === ear) this.#ear = undefined;
      };
      const heard = then(ear.ready as Soon<Position>, (position) => {
        // Events may have come before this answer.
        if (this.position === NOWHERE) this.position = position;
      });
      if (heard instanceof Promise) heard.catch(failed);
    }
    return this.#ear.ready;
  }

  #spread(event: TopicEvent): void {
    const text = this.#plain.size > 0 ? event.plain() : undefined;
    if (text !== undefined) { for (const connection of this.#plain) connection.send(text); }
    for (const member of this.#members.values()) member.take(event);
  }

  #remove(connection: Connection): void {
    this.#plain.delete(connection);
    this.#members.get(connection)?.end();
    this.#members.delete(connection);
  }
}

const NOWHERE: Position = Object.freeze({ epoch: "", offset: 0 });
