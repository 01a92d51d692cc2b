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
  const groups = groupsOf(address);
  if (groups === undefined) return address.slice(0, MAX_KEY);
  return mappedOf(groups) ?? toText(groups.slice(0, 4));
}

/**
 * The address of the client behind proxies. Each proxy adds the address that it was called from at the
 * end of `x-forwarded-for`, so the last address that is no trusted proxy is the client's. What stands
 * before it may be forged.
 *
 * @param address The address that the request came from.
 * @param forwardedFor The header `x-forwarded-for`, if there is one.
 * @param trustedProxies The proxies whose header is believed, each as {@linkcode hostOf} gives it.
 * @returns The address of the client.
 */
export function clientAddress(
  address: string | undefined,
  forwardedFor: string | null,
  trustedProxies: ReadonlySet<string>,
): string | undefined {
  // Empty elements of a list count as none (RFC 9110, section 5.6.1).
  const hops = forwardedFor?.split(",").map(withoutPort).filter((hop) => hop !== "") ?? [];
  let client = address;
  while (client !== undefined && trustedProxies.has(hostOf(client))) {
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

/**
 * One text for all spellings of an address: `::ffff:7f00:1`, `::ffff:127.0.0.1` and `127.0.0.1` are the
 * same host, and a zone (`fe80::1%eth0`) only says by which interface it is reached.
 *
 * @param address The address.
 * @returns The text; what is no IPv6 address stays as it is.
 */
export function hostOf(address: string): string {
  const groups = groupsOf(address);
  if (groups === undefined) return address;
  return mappedOf(groups) ?? toText(groups);
}

/** The eight groups of an IPv6 address; `undefined` for everything else. */
function groupsOf(address: string): number[] | undefined {
  const [plain = ""] = address.split("%");
  const hex = plain.replace(/(?<=:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (dotted, ...found) => {
    const [a = 0, b = 0, c = 0, d = 0] = found.slice(0, 4).map(Number);
    return Math.max(a, b, c, d) > 255 ? dotted : toText([a * 256 + b, c * 256 + d]);
  });
  if (!/^[0-9a-f]*:[0-9a-f]*:[0-9a-f:]*$/i.test(hex)) return undefined;
  const [start = [], end, ...more] = hex.split("::")
    .map((half) => half === "" ? [] : half.split(":"));
  const missing = end === undefined ? 0 : 8 - start.length - end.length;
  const zeros = new Array(Math.max(0, missing)).fill("0");
  const groups = [...start, ...zeros, ...end ?? []].map((group) => parseInt(group, 16));
  const isAddress = more.length === 0 && groups.length === 8 &&
    groups.every((group) => group <= 0xffff);
  return isAddress ? groups : undefined;
}

/** The IPv4 address of an IPv6 address that only stands for one, as `::ffff:c000:207` does. */
function mappedOf(groups: readonly number[]): string | undefined {
  const [high = 0, low = 0] = groups.slice(6);
  if (toText(groups.slice(0, 6)) !== "0:0:0:0:0:ffff") return undefined;
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

function toText(groups: readonly number[]): string {
  return groups.map((group) => group.toString(16)).join(":");
}

const MAX_KEY = 255;
