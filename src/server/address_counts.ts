/**
 * How many connections and requests each client has, by its address.
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";
import { clientAddress, networkOf } from "../util/network.ts";

/** Counts of one server. */
export class AddressCounts {
  readonly #most: number;
  readonly #trustedProxies: readonly string[];
  readonly #counts = new Map<string, number>();

  /**
   * @param most How many connections and requests one client may have; `Infinity` counts nothing.
   * @param trustedProxies Addresses of proxies in front of the server. @default {[]}
   */
  constructor(most: number, trustedProxies: readonly string[] = []) {
    this.#most = most;
    this.#trustedProxies = trustedProxies;
  }

  /** Whether nothing is counted. */
  get isOff(): boolean {
    return this.#most === Infinity;
  }

  /**
   * Counts a connection or request of a client.
   *
   * @param handshake What is known of the client.
   * @returns The function that takes it back, to be called once; `undefined` if the client has too many.
   */
  take(handshake: Handshake): (() => void) | undefined {
    if (this.isOff) return countsNothing;
    const { headers, remoteAddress } = handshake;
    const forwardedFor = headers.get("x-forwarded-for");
    const client = networkOf(clientAddress(remoteAddress, forwardedFor, this.#trustedProxies));
    const count = this.#counts.get(client) ?? 0;
    if (count >= this.#most) return undefined;
    this.#counts.set(client, count + 1);
    return () => this.#release(client);
  }

  #release(client: string): void {
    const count = (this.#counts.get(client) ?? 1) - 1;
    if (count === 0) this.#counts.delete(client);
    else this.#counts.set(client, count);
  }
}

function countsNothing(): void {}
