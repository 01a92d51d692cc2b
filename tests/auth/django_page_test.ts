import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { withChromium } from "../helpers/chromium.ts";
import { needsDjango, SECRET_KEY, startDjango } from "../helpers/django.ts";
import { needs } from "../helpers/needs.ts";
import { startNginx } from "../helpers/nginx.ts";
import { freePort } from "../helpers/ports.ts";
import { rawPost, rawUpgrade } from "../helpers/raw_client.ts";
import { spawnServer } from "../helpers/spawn_server.ts";

// A person in a real browser at a real Django site, with the server of the example on /rpc of the same host.
for (const name of ["deno", "bun", "node"] as const) {
  const all = await needs(name, "chromium", "nginx");
  const needed = all.skip === false ? needsDjango() : all;
  test(
    `a person who logs in and out at a Django site is known and dropped by ${name}`,
    needed,
    async () => {
      const PORT = String(await freePort());
      await using site = await startDjango({ RPC_URL: `http://127.0.0.1:${PORT}/rpc` });
      const env = { PORT, DATABASE: site.database, SECRET_KEY };
      const server = await spawnServer(name, "examples/django/server.ts", [], env);
      const proxy = await startNginx(site.url, "$http_host", { "/rpc": server.url });
      try {
        await site.python(`
ada = User.objects.create_user("ada", password="ada")
bob = User.objects.create_user("bob", password="bob")
add = Permission.objects.get(codename="add_message")
ada.user_permissions.add(add)`);
        await withChromium(async (visit) => {
          const ada = await visit(`${proxy.url}/`);
          await shows(ada, "#who", "nobody");
          await logIn(ada, "ada");
          await shows(ada, "#who", "ada");
          const bob = await visit(`${proxy.url}/`);
          await logIn(bob, "bob");
          await shows(bob, "#who", "bob");
          await say(ada, "hello");
          for (const page of [ada, bob]) await shows(page, "#messages li", "ada: hello");
          // Bob may read and not write, until Django gives him the permission.
          await say(bob, "may I?");
          await shows(bob, "#state", "Method not found");
          await site.python("bob.user_permissions.add(add)");
          await say(bob, "I may");
          await shows(ada, "#messages li:last-child", "bob: I may");

          // A logout in one tab is known in the other one at once.
          const tab = await ada.context().newPage();
          await tab.goto(`${proxy.url}/`);
          await shows(tab, "#who", "ada");
          await tab.click("#logout");
          await shows(ada, "#state", "logged out");
          await shows(tab, "#who", "nobody");
          await shows(bob, "#who", "bob");
          await site.python("bob.is_active = False; bob.save()");
          await shows(bob, "#state", "logged out");
        });
        // A page of another site comes with the cookie, and is refused.
        const cookie = `sessionid=${await site.login("ada")}`;
        const origin = "https://evil.example";
        const headers = { cookie, origin, host: new URL(proxy.url).host };
        const whoami = '{"jsonrpc":"2.0","method":"whoami","id":1}';
        assertEquals((await rawUpgrade(server.url, headers)).status, 403);
        assertEquals((await rawPost(server.url, whoami, headers)).status, 403);
        const answer = '{"jsonrpc":"2.0","result":"ada","id":1}';
        const own = { ...headers, origin: proxy.url };
        assertEquals((await rawPost(server.url, whoami, own)).body, answer);
      } finally {
        await proxy.stop();
        await server.stop();
      }
    },
  );
}

async function logIn(page: Page, username: string): Promise<void> {
  await page.click("#login");
  await page.fill("#id_username", username);
  await page.fill("#id_password", username);
  await page.click("button[type=submit]");
}

async function say(page: Page, text: string): Promise<void> {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

/** Waits until an element has a text. */
async function shows(page: Page, selector: string, text: string): Promise<void> {
  await page.locator(selector, { hasText: new RegExp(`^${text.replace("?", "\\?")}$`) }).first()
    .waitFor();
}
