/**
 * Addresses of clients: which of them belong together, and which are proxies.
 *
 * @module
 */

/**
 * The part of an address that its owner cannot change at will: all of IPv4, the first 64 bits of IPv6.
 *
 * @param address The address; `undefined` if it is not known. All such clients count as one.
 * @returns A key for counting clients.
 */
export function networkOf(address = ""): string {
  const [, ipv4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (ipv4 !== undefined) return ipv4;
  const groups = groupsOf(address);
  return groups === undefined
    ? address.slice(0, MAX_KEY)
    : groups.slice(0, 4).map((group) => group.toString(16)).join(":");
}

/**
 * The address of the client behind proxies. Each proxy adds the address that it was called from at the
 * end of `x-forwarded-for`, so the last address that is no trusted proxy is the client's. What stands
 * before it may be forged.
 *
 * @param address The address that the request came from.
 * @param forwardedFor The header `x-forwarded-for`, if there is one.
 * @param trustedProxies Addresses of proxies whose header is believed.
 * @returns The address of the client.
 */
export function clientAddress(
  address: string | undefined,
  forwardedFor: string | null,
  trustedProxies: readonly string[],
): string | undefined {
  const hops = forwardedFor?.split(",").map(withoutPort) ?? [];
  let client = address;
  while (client !== undefined && isTrusted(client, trustedProxies)) {
    const before = hops.pop();
    if (before === undefined) break;
    client = before;
  }
  return client;
}

/**
 * An address as some proxies write it into `x-forwarded-for`, without its port: `192.0.2.1:5000`,
 * `[2001:db8::1]:5000`. Each connection has another port, and would count as another client.
 */
function withoutPort(hop: string): string {
  const [, ipv6, ipv4] = /^\s*(?:\[([^\]]*)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)\s*$/.exec(hop) ??
    [];
  return ipv6 ?? ipv4 ?? hop.trim();
}

function isTrusted(address: string, trustedProxies: readonly string[]): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  return trustedProxies.includes(plain) || trustedProxies.includes(address);
}

/** The eight groups of an IPv6 address; `undefined` for everything else. */
function groupsOf(address: string): number[] | undefined {
  if (!/^[0-9a-f]*:[0-9a-f]*:[0-9a-f:]*(?:%.*)?$/i.test(address)) return undefined;
  const [start = [], end = []] =
    address.split("%")[0]?.split("::").map((half) => half === "" ? [] : half.split(":")) ?? [];
  const zeros = new Array(Math.max(0, 8 - start.length - end.length)).fill("0");
  return [...start, ...zeros, ...end].map((group) => parseInt(group, 16));
}

const MAX_KEY = 255;
