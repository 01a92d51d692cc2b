/**
 * How a person becomes a user in the inspector: with each backend, in a real browser.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SignJWT } from "jose";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { JsonRpc, loginRequired } from "@x/jsonrpc";
import { inspector } from "@x/jsonrpc/inspector";
import { jwt } from "@x/jsonrpc/jwt";
import { passwd } from "@x/jsonrpc/passwd";
import type { Plugin } from "@x/jsonrpc/plugin";
import { withChromium } from "../helpers/chromium.ts";
import { needsDjango } from "../helpers/django.ts";
import { siteAndServer } from "../helpers/django_server.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { serveHere } from "../helpers/server.ts";

const chromium = await needs("chromium");
const chromiumAndDjango = chromium.skip ? chromium : needsDjango();

/** Serves a method `who` for users, and lends a page that is connected to it. */
async function inspect(
  backend: Plugin<{ name: string } | null>,
  use: (page: Page) => Promise<void>,
): Promise<void> {
  const rpc = new JsonRpc({ logger: silentLog() }).use(inspector()).use(backend)
    .method("who", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
  await using server = await serveHere(rpc);
  await open(server.url, use);
}

async function open(url: string, use: (page: Page) => Promise<void>): Promise<void> {
  await withChromium(async (visit) => {
    const page = await visit(url);
    await state(page, "connected");
    await use(page);
  });
}

async function state(page: Page, text: "connected" | "closed"): Promise<void> {
  await page.locator("#state").filter({ hasText: new RegExp(`^${text}`) }).waitFor();
}

/** Waits until the page shows the methods, of which `name` is one for all. */
async function isListed(page: Page, name: string): Promise<void> {
  await page.getByRole("button", { name, exact: true }).waitFor();
}

/** Opens what has the forms to log in. */
async function openLogin(page: Page): Promise<void> {
  await page.locator("#login summary").click();
}

async function logIn(page: Page, user: string, password: string, answer: string): Promise<void> {
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.locator("#login-result").filter({ hasText: answer }).waitFor();
}

async function connectWith(page: Page, token: string): Promise<void> {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Connect with the token" }).click();
}

async function isUser(page: Page, name: string, method = "who"): Promise<void> {
  await page.getByRole("button", { name: method, exact: true }).click();
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.locator("#result-value").filter({ hasText: `"${name}"` }).waitFor();
}

async function isNobody(page: Page, method = "who"): Promise<void> {
  await page.getByRole("button", { name: method, exact: true }).waitFor({ state: "detached" });
}

test("a person logs in to passwd in the inspector, and out", chromium, async () => {
  const folder = await mkdtemp(join(tmpdir(), "inspector-"));
  try {
    const users = passwd(join(folder, "users.txt"), { rounds: 1000 });
    await users.createUser("ann", "correct horse");
    await inspect(users, async (page) => {
      await isListed(page, "login");
      await isNobody(page);
      await openLogin(page);
      await logIn(page, "ann", "wrong", "Wrong user or password");
      await logIn(page, "ann", "correct horse", "Done");
      await isUser(page, "ann");
      await page.getByRole("button", { name: "Log out" }).click();
      await isNobody(page);
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the frames of the inspector, and what it copies, show no password", chromium, async () => {
  await inspect({ name: "none" }, async (page) => {
    await openLogin(page);
    await logIn(page, "ann", "correct horse", "This server has no method login");
    await page.getByRole("navigation").getByRole("button", { name: "Frames" }).click();
    const frames = page.locator("#frames");
    await frames.getByLabel("Filter").fill("ann");
    const row = page.locator("#frame-rows button").filter({ hasText: '"password":"***"' });
    await row.click();
    assertMatch(await page.locator("#frame-text").textContent() ?? "", /"username": "ann"/);
    await frames.getByLabel("Filter").fill("correct horse");
    await page.getByRole("status").filter({ hasText: /^0 frames/ }).waitFor();
    await frames.getByLabel("Filter").fill("");
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy" }).click();
    await page.waitForFunction("navigator.clipboard.readText().then((text) => text !== '')");
    const copied = String(await page.evaluate("navigator.clipboard.readText()"));
    assertMatch(copied, /"username":"ann","password":"\*\*\*"/);
    assert(!copied.includes("correct horse"), copied);
  });
});

/** Keys, and a token of ada. */
async function issuer() {
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const token = await new SignJWT({ sub: "ada" }).setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h").sign(secret);
  return { keys: { secret, algorithms: ["HS256"] }, token };
}

/** Connects with tokens: a bad one, a good one, and none. */
async function tryTokens(page: Page, token: string): Promise<void> {
  await openLogin(page);
  await connectWith(page, "no.good.token");
  await state(page, "closed");
  await connectWith(page, token);
  await state(page, "connected");
  await isUser(page, "ada");
  // The page keeps the token for the next connection, and goes on without one if the field is empty.
  await page.getByRole("button", { name: "Reconnect" }).click();
  await state(page, "connected");
  await isUser(page, "ada");
  await connectWith(page, "");
  await isNobody(page);
}

test("a person connects to jwt with a token in the inspector", chromium, async () => {
  const { keys, token } = await issuer();
  await inspect(jwt(keys), async (page) => {
    await isListed(page, "login");
    await isNobody(page);
    await tryTokens(page, token);
  });
});

test(
  "a server that requires a token shows its inspector, and people log in there",
  chromium,
  async () => {
    const { keys, token } = await issuer();
    const backend = jwt({ ...keys, required: true });
    const rpc = new JsonRpc({ logger: silentLog() }).use(inspector()).use(backend)
      .method("who", (_params: unknown, { user }) => user?.name);
    await using server = await serveHere(rpc);
    await open(server.url, (page) => tryTokens(page, token));
  },
);

test(
  "a person who is logged in at a Django site is a user of the inspector, and may log in there",
  chromiumAndDjango,
  async () => {
    await using place = await siteAndServer({}, { login: true });
    place.rpc.use(inspector());
    const sessionid = await place.site.login("ada");
    await withChromium(async (visit) => {
      const page = await visit(place.server.url);
      await state(page, "connected");
      await isListed(page, "name");
      await isNobody(page, "secret");
      await openLogin(page);
      await logIn(page, "bob", "wrong", "Wrong user or password");
      await logIn(page, "bob", "bob", "Done");
      await isUser(page, "bob", "name");
      await page.getByRole("button", { name: "Log out" }).click();
      await isNobody(page, "secret");
      // As the site's own login page leaves it in the browser.
      const { url } = place.server;
      await page.context().addCookies([{ name: "sessionid", value: sessionid, url }]);
      await page.reload();
      await isUser(page, "ada", "name");
    });
  },
);

test("the inspector sends the name and password that a browser asked for", chromium, async () => {
  const seen: string[] = [];
  const ANN = `Basic ${btoa("ann:secret")}`;
  // As a proxy does that asks for HTTP Basic before all.
  const rpc = new JsonRpc({ logger: silentLog() }).use(inspector());
  await using server = await serveHere({
    fetch(request, host) {
      if (request.headers.get("authorization") !== ANN) {
        const headers = { "www-authenticate": 'Basic realm="lab"' };
        return new Response("Who is there?", { status: 401, headers });
      }
      seen.push(request.headers.has("upgrade") ? "socket" : "page");
      return rpc.fetch(request, host);
    },
    websocket: rpc.websocket,
    close: () => rpc.close(),
  });
  await withChromium(async (visit) => {
    const page = await visit(server.url.replace("http://", "http://ann:secret@"));
    await state(page, "connected");
  });
  assertEquals(seen.filter((each) => each === "socket").length, 1);
});
