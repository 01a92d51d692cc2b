/**
 * The topics that a server has declared, by name and by pattern.
 *
 * @module
 */

import { isReserved } from "../protocol/message.ts";
import { checkSchemas } from "../core/schema.ts";
import { admitted, guardText, refusingGuard } from "../core/guard.ts";
import type { Guard } from "../core/guard.ts";
import type { Connection } from "../core/connection.ts";
import type { Retention } from "../brokers/broker.ts";
import { matches, segmentsOf } from "./pattern.ts";
import { retentionOf } from "./options.ts";
import type { TopicOptions } from "./options.ts";

/** A topic, or all topics that match a pattern, as declared. */
export interface TopicDeclaration {
  /** The name or the pattern. */
  readonly name: string;
  /** The segments of a pattern; `undefined` for a name. */
  readonly segments: readonly string[] | undefined;
  /** The options of the topic. */
  readonly options: TopicOptions;
  /** What a broker has to keep of each topic. */
  readonly keep: Retention;
}

/** The declared topics of one server. */
export class TopicRegistry {
  readonly #fixed = new Map<string, TopicDeclaration>();
  readonly #patterns = new Map<string, TopicDeclaration>();

  /**
   * Declares a topic, or all topics that match a pattern: `room.*` matches `room.7`, not `room.7.log`.
   *
   * @param name The name or the pattern.
   * @param options The options of the topic.
   * @throws {TypeError} If the name is empty, reserved or taken, or an option is invalid.
   * @throws {RangeError} If a number among the options is out of range.
   */
  add(name: string, options: TopicOptions): TopicDeclaration {
    if (typeof name !== "string" || name === "") {
      throw new TypeError("Cannot declare a topic: its name is empty");
    }
    if (isReserved(name)) {
      throw new TypeError(
        `Cannot declare topic "${name}": names with "rpc." or "$/" are reserved`,
      );
    }
    if (this.#fixed.has(name) || this.#patterns.has(name)) {
      throw new TypeError(`Cannot declare topic "${name}": the name is taken`);
    }
    const { guards = [] } = options;
    // A function that is no guard cannot be asked, so the topic would be open to all.
    if (!Array.isArray(guards) || !guards.every(isGuard)) {
      throw new TypeError(
        `Cannot declare topic "${name}": expected \`guards\` to be a list of guards`,
      );
    }
    checkSchemas(`declare topic "${name}"`, { schema: options.schema });
    const segments = segmentsOf(name);
    const keep = retentionOf(options, segments === undefined);
    const declaration = { name, segments, options, keep };
    (segments === undefined ? this.#fixed : this.#patterns).set(name, declaration);
    return declaration;
  }

  /** The declaration of a name or pattern. */
  get(name: string): TopicDeclaration | undefined {
    return this.#fixed.get(name) ?? this.#patterns.get(name);
  }

  /** Removes a declaration, by the name or the pattern that it was made with. */
  remove(name: string): TopicDeclaration | undefined {
    const declaration = this.get(name);
    this.#fixed.delete(name);
    this.#patterns.delete(name);
    return declaration;
  }

  /**
   * Finds the declaration whose options a concrete topic has: that of its name, or else the first
   * pattern that matches.
   */
  find(name: string): TopicDeclaration | undefined {
    return this.#fixed.get(name) ?? this.#matching(name).next().value;
  }

  /**
   * Tells whether a topic exists for a connection. The guards of its name **and** of all patterns that
   * match are asked, so that no declaration opens what another one closes.
   */
  admits(name: string, connection: Connection): boolean {
    return this.whyRefused(name, connection) === undefined;
  }

  /** Says why a topic does not exist for a connection; `undefined` if it does. */
  whyRefused(name: string, connection: Connection): string | undefined {
    const question = { user: connection.user, connection, name, kind: "topic" } as const;
    const fixed = this.#fixed.get(name);
    let exists = fixed !== undefined;
    let refusing = refusingGuard(fixed?.options.guards ?? [], question);
    if (refusing !== undefined) return guardText(refusing);
    // A copy, since a guard may declare topics.
    for (const { options: { guards = [] } } of [...this.#matching(name)]) {
      refusing = refusingGuard(guards, question);
      if (refusing !== undefined) return guardText(refusing);
      exists = true;
    }
    return exists ? undefined : "no topic has this name";
  }

  /** Lists the topics that were declared by name and that a connection may use. */
  listFor(connection: Connection): string[] {
    return [...this.#fixed.keys()].filter((name) => this.admits(name, connection));
  }

  /** Lists the topics and patterns that a connection may use, with the schemas of their events. */
  describe(connection: Connection): { name: string; schema: TopicOptions["schema"] }[] {
    const patterns = [...this.#patterns.values()].filter(({ name, options: { guards = [] } }) => {
      return admitted(guards, { user: connection.user, connection, name, kind: "topic" });
    });
    const fixed = [...this.#fixed.values()].filter(({ name }) => this.admits(name, connection));
    return [...fixed, ...patterns]
      .map(({ name, options: { schema } }) => ({ name, schema }));
  }

  *#matching(name: string): IterableIterator<TopicDeclaration> {
    if (this.#patterns.size === 0 || name.length > MAX_LENGTH || isReserved(name)) return;
    const segments = name.split(".");
    // A client names concrete topics: a star in its name is not a pattern.
    if (segments.includes("*") || segments.includes("")) return;
    for (const declaration of this.#patterns.values()) {
      if (matches(segments, declaration.segments ?? [])) yield declaration;
    }
  }
}

// The longest name that a client may choose under a pattern. Servers and brokers store each name.
const MAX_LENGTH = 256;

function isGuard(layer: unknown): boolean {
  return typeof (layer as Partial<Guard> | undefined)?.admits === "function";
}
