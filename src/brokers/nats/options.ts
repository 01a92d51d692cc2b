/**
 * Where NATS is, and how the broker uses it.
 *
 * @module
 */

import type { NodeConnectionOptions } from "@nats-io/transport-node";
import { checkMs } from "../../util/check_option.ts";
import { MAX_TIMER_MS } from "../../util/timer.ts";
import type { Logger } from "../../util/logger.ts";

/** Where NATS is, and how the broker uses it. */
export interface NatsBrokerOptions {
  /**
   * Servers of one cluster, each as `host:port`.
   *
   * @default {"127.0.0.1:4222"}
   */
  readonly servers?: string | readonly string[];
  /** More for the connection: what `connect` of `@nats-io/transport-node` takes, such as `tls`. */
  readonly connection?: NodeConnectionOptions;
  /**
   * The name of the stream, and what all subjects begin with. Servers with the same name share their
   * topics; other applications on the same NATS use another name.
   *
   * @default {"jsonrpc"}
   */
  readonly stream?: string;
  /**
   * Where the stream keeps its events. It counts for the server that makes the stream.
   *
   * @default {"file"}
   */
  readonly storage?: "file" | "memory";
  /**
   * On how many servers the stream keeps its events. It counts for the server that makes the stream.
   * More than 1 needs nats-server 2.10.23 or later to be safe: older ones may lose acknowledged
   * messages when a server comes back.
   *
   * @default {1}
   */
  readonly replicas?: number;
  /**
   * How long publishing, subscribing and reading may wait for NATS, in milliseconds.
   *
   * @default {5000}
   */
  readonly publishTimeoutMs?: number;
  /**
   * Gets a line when NATS goes out of reach, when it is back, and if its version is too old for what
   * it is used for.
   *
   * @default {console}
   */
  readonly logger?: Logger;
}

/**
 * Checks options.
 *
 * @returns The same options.
 * @throws {TypeError} If a name or a choice is not one.
 * @throws {RangeError} If a number is out of bounds.
 */
export function checkOptions(options: NatsBrokerOptions): NatsBrokerOptions {
  const { publishTimeoutMs, stream, storage, replicas } = options;
  if (publishTimeoutMs !== undefined) {
    checkMs("publishTimeoutMs", publishTimeoutMs, 1, MAX_TIMER_MS);
  }
  if (stream !== undefined && !/^[\w-]+$/.test(stream)) {
    throw new TypeError(`Expected \`stream\` to be letters, digits, - and _, got \`${stream}\``);
  }
  if (storage !== undefined && storage !== "file" && storage !== "memory") {
    throw new TypeError(`Expected \`storage\` to be "file" or "memory", got \`${storage}\``);
  }
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5)) {
    throw new RangeError(`Expected \`replicas\` to be a number from 1 to 5, got \`${replicas}\``);
  }
  return options;
}

/** Whether a server's version is at least this one. */
export function isAtLeast(version: string | undefined, least: readonly number[]): boolean {
  const numbers = (version ?? "").split(".").map(parseFloat);
  for (const [n, number] of least.entries()) {
    const own = numbers[n] || 0;
    if (own !== number) return own > number;
  }
  return true;
}
