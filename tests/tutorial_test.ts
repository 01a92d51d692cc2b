/**
 * docs/tutorial.md and the first example of README.md, followed word by word in a new project: their commands
 * and files, with the package as it is published. Deno builds the package, so that this is work for Deno alone.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { withChromium } from "./helpers/chromium.ts";
import { stepsOf } from "./helpers/guide.ts";
import type { GuideStep } from "./helpers/guide.ts";
import { needs } from "./helpers/needs.ts";
import { freePort } from "./helpers/ports.ts";
import { startEngine } from "./helpers/brokers/engine.ts";
import { proxy } from "./helpers/proxy.ts";
import { newProject } from "./helpers/project.ts";
import type { Project } from "./helpers/project.ts";
import { findNode, runtime } from "./helpers/runtimes.ts";
import { Terminal } from "./helpers/terminal.ts";

const ADA = ["chat.ts", "ada", "correct horse"];
const BOB = ["chat.ts", "bob", "battery staple"];
// Beside the tutorial: what an editor has.
const FOR_TYPES = ["typescript", "@types/node"];

const redis = await needs("redis-server");

/** Somebody who follows a guide on ports of their own. */
class Reader {
  readonly project: Project;
  readonly node: string;
  readonly vitePort: string;
  readonly #ports: ReadonlyMap<string, string>;

  constructor(project: Project, node: string, ports: readonly [server: number, vite: number]) {
    this.project = project;
    this.node = node;
    this.vitePort = String(ports[1]);
    this.#ports = new Map([["8080", String(ports[0])], ["5173", this.vitePort]]);
  }

  /** Runs the commands of a step, and saves its files. */
  async follow({ commands, files }: GuideStep): Promise<void> {
    for (const command of commands) {
      const [program = "", ...args] = command.replace("@x/jsonrpc", this.project.tarball).split(
        " ",
      );
      await this.project.run(program, ...args);
    }
    for (const { name, text, added } of files) {
      const whole = added ? await this.#adding(name, text) : text;
      await this.project.write(
        name,
        whole.replace(/\b(?:8080|5173)\b/g, (port) => this.#port(port)),
      );
    }
  }

  /** Gives the server a broker, so that the history outlives it, as the tutorial suggests. */
  async keepHistory(url: string): Promise<void> {
    await this.project.run("npm", "install", "--silent", "redis");
    const server = await this.project.read("server.ts");
    const broker = `new JsonRpc({ broker: redisBroker({ url: ${JSON.stringify(url)} }) })`;
    assertStringIncludes(server, "new JsonRpc()");
    await this.project.write(
      "server.ts",
      `import { redisBroker } from "@x/jsonrpc/redis";\n${server.replace("new JsonRpc()", broker)}`,
    );
  }

  /** Starts a file of the project, on Node unless another program is given. */
  start(file: readonly string[], program: readonly string[] = [this.node]): Terminal {
    return new Terminal([...program, ...file], this.project.path(""));
  }

  async checkTypes(): Promise<void> {
    const strict = ["--noEmit", "--strict", "--allowImportingTsExtensions", "--skipLibCheck"];
    const target = [
      "--target",
      "es2023",
      "--lib",
      "es2023,dom,esnext.disposable",
      "--types",
      "node",
    ];
    const modules = ["--module", "nodenext", "--verbatimModuleSyntax"];
    const files = (await this.project.run("ls")).split("\n").filter((name) =>
      name.endsWith(".ts") && !name.startsWith("consumer")
    );
    const tsc = this.project.path("node_modules/.bin/tsc");
    assertEquals(await this.project.run(tsc, ...strict, ...target, ...modules, ...files), "");
  }

  /** The file as it was, with the text above its loop over what is typed. */
  async #adding(name: string, text: string): Promise<string> {
    const [start = "", ...rest] = (await this.project.read(name)).split(
      /(?=^await (?:client\.subscribe|enter\())/m,
    );
    return [start, text, ...rest].join("\n");
  }

  #port(port: string): string {
    return this.#ports.get(port) ?? port;
  }
}

async function withReader(follow: (reader: Reader) => Promise<void>): Promise<void> {
  await using project = await newProject();
  const node = await findNode(22) ?? "node";
  await follow(new Reader(project, node, [await freePort(), await freePort()]));
}

/** Starts a chat's server and waits until it listens. */
async function startServer(reader: Reader): Promise<Terminal> {
  const server = reader.start(["server.ts"]);
  await server.prints("LISTENING ");
  return server;
}

test(
  "docs/tutorial.md does in each step what it says, and its chat lives through cuts, sleep and a restart",
  await needs("on deno", "node@22", "bun", "chromium", "npx"),
  () =>
    withReader(async (reader) => {
      const steps = stepsOf("docs/tutorial.md").filter(({ title }) => title.startsWith("Step "));
      assertEquals(steps.map(({ title }) => title), STEPS.map(([title]) => title));
      for (const [index, [title, check]] of STEPS.entries()) {
        try {
          await reader.follow(steps[index] as GuideStep);
          if (index === 0) {
            await reader.project.run("npm", "install", "-D", "--silent", ...FOR_TYPES);
          }
          await reader.checkTypes();
          await check(reader);
        } catch (error) {
          throw new Error(`${title}: ${(error as Error).message}`, { cause: error });
        }
      }
      if (redis.skip === false) await livesOn(reader);
    }),
);

const STEPS: readonly (readonly [title: string, check: (reader: Reader) => Promise<void>])[] = [
  ["Step 1: a server and a client", greets],
  ["Step 2: rooms", talks],
  ["Step 3: logins", logsInAgain],
  ["Step 4: late joiners", catchesUp],
  ["Step 5: who is here", listsPeople],
  ["Step 6: a page", showsThePage],
];

/** On each runtime, since this is where the tutorial says that they all do. */
async function greets(reader: Reader): Promise<void> {
  const [bun] = (await runtime("bun")).command;
  const [deno] = (await runtime("deno")).command;
  for (const program of [[reader.node], [bun], [deno, "run", "-A"]]) {
    await using server = reader.start(["server.ts"], program);
    await server.prints("LISTENING ");
    await using client = reader.start(["hello.ts"], program);
    assertStringIncludes(await client.end(), "Hello Ada\n");
  }
}

async function talks(reader: Reader): Promise<void> {
  await using _server = await startServer(reader);
  await using ada = reader.start(["chat.ts", "ada"]);
  await using bob = reader.start(["chat.ts", "bob"]);
  await using eve = reader.start(["chat.ts", "eve", "kitchen"]);
  for (const each of [ada, bob, eve]) await each.prints("You are ");
  ada.type("Hello");
  for (const each of [ada, bob]) await each.prints("ada: Hello\n");
  eve.type("Anybody here?");
  await eve.prints("eve: Anybody here?\n");
  assertEquals(/eve:/.test(bob.output) || /ada:/.test(eve.output), false);
}

async function logsInAgain(reader: Reader): Promise<void> {
  const clients: Terminal[] = [];
  {
    await using _server = await startServer(reader);
    await using stranger = reader.start(["chat.ts", "ada", "wrong"]);
    assertStringIncludes(await stranger.end(), "Wrong name or password");
    for (const each of [ADA, BOB]) clients.push(reader.start(each));
    for (const client of clients) await client.prints("You are ");
    clients[0]?.type("Hello");
    for (const client of clients) await client.prints("ada: Hello\n");
  }
  for (const client of clients) await client.prints("The server is away");
  clients[1]?.type("Where is it?");
  await using _again = await startServer(reader);
  for (const client of clients) await client.prints("The server is back");
  await clients[1]?.prints("bob: Where is it?\n");
  clients[0]?.type("Here");
  for (const client of clients) await client.prints("ada: Here\n");
  for (const client of clients) await client[Symbol.asyncDispose]();
}

async function catchesUp(reader: Reader): Promise<void> {
  await using _server = await startServer(reader);
  await using ada = reader.start(ADA);
  await ada.prints("You are ");
  ada.type("Is anybody here?");
  await ada.prints("ada: Is anybody here?\n");
  await using bob = reader.start(BOB);
  await bob.prints("You are ");
  assertStringIncludes(bob.output, "ada: Is anybody here?\n");
}

async function listsPeople(reader: Reader): Promise<void> {
  await using _server = await startServer(reader);
  await using ada = reader.start(ADA);
  await ada.prints("Here: ada\n");
  {
    await using bob = reader.start(BOB);
    for (const each of [ada, bob]) await each.prints("Here: ada, bob\n");
    assertEquals(ada.output.split("Here: ada\n").length, 2, "the list comes once");
  }
  await ada.prints("Here: ada\n", 2);
}

async function showsThePage(reader: Reader): Promise<void> {
  await using _server = await startServer(reader);
  await using vite = reader.start(["--port", reader.vitePort, "--strictPort"], [
    reader.node,
    "node_modules/vite/bin/vite.js",
  ]);
  await vite.prints(`http://localhost:${reader.vitePort}/`);
  await withChromium(async (visit) => {
    const url = `http://localhost:${reader.vitePort}/`;
    const [ada, bob] = [await visit(url), await visit(url)];
    await login(ada, "ada", "wrong");
    await ada.getByText("Wrong name or password").waitFor();
    await login(ada, "ada", "correct horse");
    await ada.getByText("Connected").waitFor();
    await say(ada, "Is anybody here?");
    await login(bob, "bob", "battery staple");
    await bob.getByText("ada: Is anybody here?").waitFor();
    await ada.getByText("ada, bob").waitFor();
    await say(bob, "<b>Yes</b>");
    await ada.getByText("bob: <b>Yes</b>").waitFor();
  });
  await reader.project.run("npx", "vite", "build", "--logLevel", "warn");
  assertStringIncludes(await reader.project.read("dist/index.html"), "<script");
}

const BOTH = /ada, bob|bob, ada/;

/**
 * Logins, rooms, history and presence outlive what happens to a chat in a day. That a login outlives it shows in
 * each step: without one the room would not exist for the client.
 */
async function livesOn(reader: Reader): Promise<void> {
  await using engine = await startEngine("redis");
  await reader.keepHistory(engine.url);
  let server = await startServer(reader);
  // As it is deployed: Vite's own server for development loads a page anew after each cut.
  await reader.project.run("npx", "vite", "build", "--logLevel", "warn");
  await using vite = reader.start(["preview", "--port", reader.vitePort, "--strictPort"], [
    reader.node,
    "node_modules/vite/bin/vite.js",
  ]);
  await vite.prints(`http://localhost:${reader.vitePort}/`);
  await using network = await proxy(`http://localhost:${reader.vitePort}`);
  await using bob = reader.start(BOB);
  await bob.prints("You are ");
  await withChromium(async (visit) => {
    const tabs = [await visit("about:blank"), await visit("about:blank")];
    for (const tab of tabs) {
      await tab.clock.install();
      await tab.goto(network.url);
      await login(tab, "ada", "correct horse");
      await tab.getByText("Connected").waitFor();
    }
    const [tab, other] = tabs as [Page, Page];
    async function says(text: string): Promise<void> {
      bob.type(text);
      await bob.prints(`bob: ${text}\n`);
    }
    /** All that was said, once and in order, and both who are here. */
    async function shows(pages: readonly Page[], ...texts: string[]): Promise<void> {
      for (const page of pages) {
        await page.getByText(`bob: ${texts.at(-1)}`).waitFor();
        const shown = texts.map((text) => `bob: ${text}`);
        assertEquals(await page.locator("#messages li").allTextContents(), shown);
        await page.getByText(BOTH).waitFor();
      }
    }

    await says("One");
    await shows(tabs, "One");

    // A network that is cut, and back at once.
    for (const link of network.links) link.cut();
    await says("Two");
    await shows(tabs, "One", "Two");

    // A sleep of ten minutes: the sockets look open, and nothing comes through them.
    const wasLinked = network.links.length;
    for (const link of network.links) {
      link.up.become("lose");
      link.down.become("lose");
    }
    await says("Three");
    for (const page of tabs) await page.clock.fastForward(600_000);
    await shows(tabs, "One", "Two", "Three");
    assertEquals(network.links.length > wasLinked, true);

    // One of two tabs goes: its user is still here.
    await other.close();
    await says("Four");
    await shows([tab], "One", "Two", "Three", "Four");

    // Ada was never away for longer than a reload takes.
    assertEquals(bob.output.split(BOTH).slice(1).join().includes("Here: bob\n"), false, bob.output);

    // A server that stops and starts again.
    await server[Symbol.asyncDispose]();
    await tab.getByText("The server is away").waitFor();
    server = await startServer(reader);
    await bob.prints("The server is back");
    await says("Five");
    await shows([tab], "One", "Two", "Three", "Four", "Five");
    // Whoever comes now reads all of it.
    const late = await visit(network.url);
    await login(late, "ada", "correct horse");
    await shows([late], "One", "Two", "Three", "Four", "Five");
  });
  assertEquals(bob.output.includes("Some messages are lost"), false, bob.output);
  await server[Symbol.asyncDispose]();
}

async function login(page: Page, username: string, password: string): Promise<void> {
  await page.getByLabel("Name").fill(username);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Enter the lobby" }).click();
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Say" }).click();
}

test(
  "README.md begins with a server and a client that run as they are",
  await needs("on deno", "node@22", "bun", "npx"),
  () =>
    withReader(async (reader) => {
      const [start, ...others] = stepsOf("README.md");
      const install = others.find(({ title }) => title === "Install")?.commands
        .find((command) => command.startsWith("npm install "));
      await reader.follow({ ...start as GuideStep, commands: [install ?? ""] });
      const [bun] = (await runtime("bun")).command;
      const [deno] = (await runtime("deno")).command;
      for (const program of [[reader.node], [bun], [deno, "run", "-A"]]) {
        await using server = reader.start(["server.ts"], program);
        await server.prints("LISTENING ");
        await using client = reader.start(["client.ts"], program);
        await client.prints("1 + 2 = 3\n");
        await client.prints("T", 2);
      }
    }),
);
