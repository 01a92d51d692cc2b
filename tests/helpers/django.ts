/**
 * A real Django site: that of `examples/django`, with a database in a temporary folder.
 */
import { Buffer } from "node:buffer";
import { execFileSync, spawn } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { Query } from "@x/jsonrpc/django";
import { skipUnless } from "./needs.ts";
import type { SkipOption } from "./needs.ts";
import { findProgram } from "./programs.ts";

export const SECRET_KEY = "the key of the site in the tests";

/** A site that runs. */
export interface DjangoSite extends AsyncDisposable {
  /** Where it listens. */
  readonly url: string;
  /** The version of Django, as in `3.2.25`. */
  readonly version: string;
  /** The path of its database. */
  readonly database: string;
  /** Queries the database, as a user of `./django` would with `node:sqlite`. */
  readonly query: Query;
  /** Runs Python in the site. Gives what the code has put into `result`. */
  python(code: string): Promise<unknown>;
  /** Logs a user in at the site's own view. Gives the session cookie. */
  login(username: string, password?: string): Promise<string>;
}

/** Skips a test if there is no Python with Django. */
export function needsDjango(): SkipOption {
  return skipUnless(pythonWithDjango() !== undefined, "no Django (apt-get install python3-django)");
}

/**
 * Starts a site.
 *
 * @param settings Settings that differ from those of the example.
 */
export async function startDjango(
  settings: Readonly<Record<string, unknown>> = {},
): Promise<DjangoSite> {
  const [python, version] = pythonWithDjango() ?? [];
  if (python === undefined || version === undefined) throw new Error("There is no Django");
  const folder = await mkdtemp(join(tmpdir(), "django-"));
  const database = join(folder, "db.sqlite3");
  const program = fileURLToPath(new URL("../programs/django_site.py", import.meta.url));
  const child = spawn(python, [program], {
    env: {
      ...process.env,
      ...{ DATABASE: database, SECRET_KEY, OVERRIDES: JSON.stringify(settings) },
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done) throw new Error("The Django site has ended");
    return value;
  };
  const url = (await next()).replace("LISTENING ", "");
  const db = new DatabaseSync(database);
  db.exec("PRAGMA busy_timeout = 5000");
  let last: Promise<unknown> = Promise.resolve();
  const run = async (code: string): Promise<unknown> => {
    child.stdin.write(JSON.stringify({ code }) + "\n");
    const { result, error } = JSON.parse(await next());
    if (error !== undefined) throw new Error(error);
    return result;
  };
  return {
    url,
    version,
    database,
    query: (sql, params) => db.prepare(sql).all(...params as (string | number | null)[]),
    python: (code) => last = last.catch(() => {}).then(() => run(code)),
    login: (username, password = username) => logIn(url, username, password),
    async [Symbol.asyncDispose]() {
      db.close();
      child.stdin.end();
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

/** Fills in the form of the login page, as a browser does. */
async function logIn(url: string, username: string, password: string): Promise<string> {
  const page = await fetch(`${url}/login/`);
  const csrf = cookieIn(page, "csrftoken");
  const [, token = ""] = /name="csrfmiddlewaretoken" value="([^"]+)"/.exec(await page.text()) ?? [];
  const response = await fetch(`${url}/login/`, {
    method: "POST",
    headers: { cookie: `csrftoken=${csrf}` },
    body: new URLSearchParams({ csrfmiddlewaretoken: token, username, password }),
    redirect: "manual",
  });
  await response.body?.cancel();
  const session = cookieIn(response, "sessionid");
  if (session === undefined) throw new Error(`Cannot log in as ${username}: ${response.status}`);
  return session;
}

/** Signs a value as `django.core.signing.dumps` does: for tests that need no site. */
export function signLikeDjango(value: unknown, salt: string, key = SECRET_KEY): string {
  const payload = Buffer.from(JSON.stringify(value)).toString("base64url");
  const stamped = `${payload}:${toBase62(Math.floor(Date.now() / 1000))}`;
  const derived = createHash("sha256").update(`${salt}signer${key}`).digest();
  return `${stamped}:${createHmac("sha256", derived).update(stamped).digest("base64url")}`;
}

function toBase62(number: number): string {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const rest = Math.floor(number / 62);
  return (rest === 0 ? "" : toBase62(rest)) + digits.charAt(number % 62);
}

/** The value of a cookie that a response sets. */
export function cookieIn(response: Response, name: string): string | undefined {
  for (const line of response.headers.getSetCookie()) {
    const [, value] = new RegExp(`^${name}=([^;]*)`).exec(line) ?? [];
    if (value !== undefined) return value;
  }
  return undefined;
}

let found: readonly [python: string, version: string] | undefined | null = null;

/** Debian's Python first: another one on the PATH does not have Debian's packages. */
function pythonWithDjango(): readonly [python: string, version: string] | undefined {
  if (found !== null) return found;
  for (const python of ["/usr/bin/python3", findProgram("python3")]) {
    try {
      const ask = ["-c", "import django; print(django.__version__)"];
      const version = execFileSync(python ?? "", ask, { encoding: "utf8", stdio: "pipe" }).trim();
      return found = [python ?? "", version];
    } catch {
      // Not this one.
    }
  }
  return found = undefined;
}
