/**
 * The addresses of clients, and how many connections and requests each has.
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";
import { clientAddress, hostOf, networkOf } from "../util/network.ts";

/** Counts of one server. */
export class AddressCounts {
  readonly #most: number;
  readonly #trustedProxies: ReadonlySet<string>;
  readonly #counts = new Map<string, number>();

  /**
   * @param most How many connections and requests one client may have; `Infinity` counts nothing.
   * @param trustedProxies Addresses of proxies in front of the server. @default {[]}
   */
  constructor(most: number, trustedProxies: readonly string[] = []) {
    this.#most = most;
    this.#trustedProxies = new Set(trustedProxies.map(hostOf));
  }

  /** Whether nothing is counted. */
  get isOff(): boolean {
    return this.#most === Infinity;
  }

  /**
   * Tells where a request comes from.
   *
   * @param address The address that it was sent from.
   * @param headers Its headers.
   * @returns The address of the client: behind trusted proxies the one that they forward.
   */
  clientOf(address: string | undefined, headers: Headers): string | undefined {
    if (this.#trustedProxies.size === 0) return address;
    return clientAddress(address, headers.get("x-forwarded-for"), this.#trustedProxies);
  }

  /**
   * Counts a connection or request of a client.
   *
   * @param handshake What is known of the client.
   * @returns The function that takes it back, to be called once; `undefined` if the client has too many.
   */
  take(handshake: Handshake): (() => void) | undefined {
    if (this.isOff) return countsNothing;
    const client = networkOf(handshake.remoteAddress);
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
