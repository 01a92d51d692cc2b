/**
 * Which topics there are: by name, and by pattern.
 *
 * @module
 */

import { isReserved } from "../protocol/message.ts";
import { admitted } from "../core/guard.ts";
import type { Guard } from "../core/guard.ts";
import type { Connection } from "../core/connection.ts";
import type { Retention } from "../brokers/broker.ts";
import { retentionOf } from "./options.ts";
import type { TopicOptions } from "./options.ts";

/** One topic, or all that fit a pattern, as declared. */
export interface TopicDeclaration {
  /** The name or the pattern. */
  readonly name: string;
  /** Parts of a pattern; `undefined` for a name. */
  readonly segments: readonly string[] | undefined;
  /** How they behave. */
  readonly options: TopicOptions;
  /** What a broker has to keep of each. */
  readonly keep: Retention;
}

/** The topics that were declared. */
export class TopicRegistry {
  readonly #fixed = new Map<string, TopicDeclaration>();
  readonly #patterns = new Map<string, TopicDeclaration>();

  /**
   * Declares a topic, or all topics that fit a pattern: `room.*` fits `room.7`, not `room.7.log`.
   *
   * @throws {TypeError} Where the name is empty, reserved or taken, or an option makes no sense.
   * @throws {RangeError} Where an option makes no sense.
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
    // What is no guard could be asked nothing: the topic would be open to all.
    if (!Array.isArray(guards) || !guards.every(isGuard)) {
      throw new TypeError(`Cannot declare topic "${name}": its \`use\` is no list of guards`);
    }
    const parts = name.split(".");
    const segments = parts.includes("*") ? parts : undefined;
    const keep = retentionOf(options, segments === undefined);
    const declaration = { name, segments, options, keep };
    (segments === undefined ? this.#fixed : this.#patterns).set(name, declaration);
    return declaration;
  }

  /** Takes a declaration back, by the name or the pattern that it was made with. */
  remove(name: string): TopicDeclaration | undefined {
    const declaration = this.#fixed.get(name) ?? this.#patterns.get(name);
    this.#fixed.delete(name);
    this.#patterns.delete(name);
    return declaration;
  }

  /** Finds how a concrete topic was declared. */
  find(name: string): TopicDeclaration | undefined {
    return this.#fixed.get(name) ?? (this.#patterns.size === 0 ? undefined : this.#match(name));
  }

  /** Those that were declared by name and that a connection may use. */
  listFor(connection: Connection): string[] {
    return [...this.#fixed.values()]
      .filter((declaration) => mayUse(declaration, declaration.name, connection))
      .map(({ name }) => name);
  }

  #match(name: string): TopicDeclaration | undefined {
    if (name.length > MAX_LENGTH || isReserved(name)) return undefined;
    const segments = name.split(".");
    // Clients name concrete topics: a star of theirs is no pattern.
    if (segments.includes("*") || segments.includes("")) return undefined;
    for (const declaration of this.#patterns.values()) {
      if (fits(segments, declaration.segments ?? [])) return declaration;
    }
    return undefined;
  }
}

// Of names that clients choose: each is remembered, in several places.
const MAX_LENGTH = 256;

/** Whether the guards of a topic admit a connection to it. */
export function mayUse(
  declaration: TopicDeclaration,
  name: string,
  connection: Connection,
): boolean {
  const { guards = [] } = declaration.options;
  return admitted(guards, { user: connection.user, connection, name, kind: "topic" });
}

function isGuard(layer: unknown): boolean {
  return typeof (layer as Partial<Guard> | undefined)?.admits === "function";
}

function fits(segments: readonly string[], pattern: readonly string[]): boolean {
  return segments.length === pattern.length &&
    pattern.every((segment, index) => segment === "*" || segment === segments[index]);
}
