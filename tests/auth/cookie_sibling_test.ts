/**
 * Cookies that another host of the domain plants, in a real browser over TLS.
 */
import { assert, assertEquals } from "@std/assert";
import { JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { cookie, session } from "@x/jsonrpc/session";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createServer } from "node:tls";
import type { Page } from "playwright-core";
import { selfSigned } from "../helpers/certificate.ts";
import { withChromium } from "../helpers/chromium.ts";
import { needs } from "../helpers/needs.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const FLAGS = [
  "--ignore-certificate-errors",
  "--host-resolver-rules=MAP *.example.test 127.0.0.1",
];
const LOGIN = "Path=/; Secure; HttpOnly; SameSite=Lax";
const EVERY_HOST = "Domain=example.test; Secure";

/**
 * Cookies for all hosts of the domain whose name is, or looks like, that of the session. Each character is a
 * byte of the header, so both U+00A0 of Latin-1 and that of UTF-8 are here.
 */
const PLANTED = [
  "__Host-sid=mallory",
  "__host-sid=mallory",
  "\xa0__Host-sid=mallory",
  "__Host-sid\xa0=mallory",
  "\xc2\xa0__Host-sid=mallory",
  "\xe3\x80\x80__Host-sid=mallory",
  "\xef\xbb\xbf__Host-sid=mallory",
  "\t__Host-sid=mallory",
  "\x85__Host-sid=mallory",
  "\x0c__Host-sid=mallory",
  "=__Host-sid=mallory",
  "__Host-sid",
  '"__Host-sid"=mallory',
  "%5F_Host-sid=mallory",
  'theme="; __Host-sid=mallory"',
];

/** The site: `/rpc` knows people by a cookie that other hosts cannot set, `/plain` by one that they can. */
function site() {
  const received: string[] = [];
  const users = new Map(["ada", "mallory"].map((name) => [name, { name }]));
  const serverFor = (name: string) =>
    new JsonRpc()
      .use(session((handshake) => {
        received.push(handshake.headers.get("cookie") ?? "");
        return users.get(cookie(handshake, name) ?? "");
      }))
      .method("whoami", (_params, { user }) => user?.name ?? "nobody");
  const servers = { "/rpc": serverFor("__Host-sid"), "/plain": serverFor("sid") };

  function fetch(request: Request, host?: object): Response | Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/rpc" || pathname === "/plain") {
      return servers[pathname].fetch(request, host);
    }
    const headers = new Headers({ "content-type": "text/html" });
    if (pathname === "/login") {
      headers.append("set-cookie", `__Host-sid=ada; ${LOGIN}`);
      headers.append("set-cookie", `sid=ada; ${LOGIN}`);
    }
    return new Response("<!DOCTYPE html><title>App</title>", { headers });
  }

  async function close(): Promise<void> {
    for (const rpc of Object.values(servers)) await rpc.close();
  }
  return { received, fetch, close };
}

/** The other host, byte for byte: `/?3` sets one cookie of the list, `/?sid` the name without a prefix. */
async function startSibling({ key, cert }: { key: string; cert: string }) {
  const server = createServer({ key, cert }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", (request) => {
      const [, query = ""] = /^GET \/\?(\w+) /.exec(request.toString("latin1")) ?? [];
      const sid = ["/", "/plain"].map((path) => `sid=mallory; ${EVERY_HOST}; Path=${path}`);
      const cookies = query === "sid" ? sid : [`${PLANTED[Number(query)]}; ${EVERY_HOST}; Path=/`];
      const head = cookies.map((line) => `set-cookie: ${line}\r\n`).join("");
      const type = "content-type: text/html\r\ncontent-length: 7\r\nconnection: close\r\n";
      socket.end(`HTTP/1.1 200 OK\r\n${type}${head}\r\nSibling`, "latin1");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK.hostname, resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () => new Promise<void>((resolve) => server.close(() => resolve()));
  return { port, [Symbol.asyncDispose]: stop };
}

test(
  "another host of the domain takes over no session, and keeps no one with a __Host- cookie out",
  await needs("chromium", "openssl"),
  async () => {
    await using tls = await selfSigned();
    const app = site();
    await using appServer = await serve(app, { ...LOOPBACK, tls });
    await using sibling = await startSibling(tls);
    const appUrl = `https://app.example.test:${appServer.port}`;
    const evilUrl = `https://evil.example.test:${sibling.port}`;
    try {
      await withChromium(async (visit) => {
        const page = await visit(`${appUrl}/`);
        for (const [index, pair] of PLANTED.entries()) {
          await page.context().clearCookies();
          // Somebody who is not logged in is not logged in by the other host.
          await page.goto(`${evilUrl}/?${index}`);
          await page.goto(`${appUrl}/`);
          assertEquals(await whoami(page, "/rpc"), ["nobody", "nobody"], pair);
          // A person who logs in stays herself, also when the other host sets its cookie again.
          await page.goto(`${appUrl}/login`);
          assertEquals(await whoami(page, "/rpc"), ["ada", "ada"], pair);
          await page.goto(`${evilUrl}/?${index}`);
          await page.goto(`${appUrl}/`);
          assertEquals(await whoami(page, "/rpc"), ["ada", "ada"], pair);
        }
        assert(app.received.includes("\xa0__Host-sid=mallory"), "Chromium keeps no look-alike");

        // A name without the prefix can come twice, and with a longer path the planted one comes first.
        assertEquals(await whoami(page, "/plain"), ["ada", "ada"]);
        await page.goto(`${evilUrl}/?sid`);
        assertEquals(await connects(page, `wss${appUrl.slice(5)}/rpc`), false);
        await page.goto(`${appUrl}/`);
        assertEquals(await whoami(page, "/plain"), ["nobody", "nobody"]);
        assert(app.received.some((header) => /^sid=mallory;.*; sid=ada/.test(header)));
        assertEquals(await whoami(page, "/rpc"), ["ada", "ada"]);
        await page.goto("about:blank"); // leaves no connection open
      }, FLAGS);
    } finally {
      await app.close();
    }
  },
);

/** Asks over POST and over WebSocket who the person at the page is. */
async function whoami(page: Page, path: string): Promise<string[]> {
  return await page.evaluate(async (path) => {
    const body = '{"jsonrpc":"2.0","method":"whoami","id":1}';
    const headers = { "content-type": "application/json" };
    const posted = await (await fetch(path, { method: "POST", headers, body })).json();
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = new WebSocket(path);
    socket.onopen = () => socket.send(body);
    socket.onmessage = ({ data }) => resolve(JSON.parse(data).result);
    socket.onerror = () => reject(new Error("no WebSocket"));
    const answer = await promise;
    socket.close();
    return [posted.result, answer];
  }, path);
}

/** Whether a page can open a WebSocket. */
async function connects(page: Page, url: string): Promise<boolean> {
  return await page.evaluate((url) =>
    new Promise<boolean>((resolve) => {
      const socket = new WebSocket(url);
      socket.onopen = () => resolve(true);
      socket.onerror = () => resolve(false);
    }), url);
}
