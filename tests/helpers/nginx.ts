/**
 * nginx as a proxy, with a configuration of its own.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dial } from "./raw_client.ts";
import { freePort } from "./ports.ts";
import { programPath } from "./programs.ts";

/** A proxy that listens. */
export interface Proxy {
  readonly url: string;
  /** Ends it, and removes what it wrote. */
  stop(): Promise<void>;
}

/**
 * Starts nginx in front of a server.
 *
 * @param target The server's URL.
 * @param host What nginx passes on as Host: one of its variables.
 * @param others Servers for single paths, by path.
 */
export async function startNginx(
  target: string,
  host: string,
  others: Readonly<Record<string, string>> = {},
): Promise<Proxy> {
  const folder = await mkdtemp(join(tmpdir(), "nginx-"));
  const port = await freePort();
  await writeFile(
    join(folder, "nginx.conf"),
    configuration(port, { "/": target, ...others }, host),
  );
  // The shell's stdin ends with this process, however that ends, and the shell then ends nginx.
  const script = '"$0" -p "$1" -c nginx.conf -e error.log & read -r end; kill $!; wait';
  const shell = spawn("sh", ["-c", script, programPath("nginx"), folder], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  const ended = new Promise((resolve) => shell.once("close", resolve));

  async function stop(): Promise<void> {
    shell.stdin.end();
    await ended;
    await rm(folder, { recursive: true });
  }

  const url = `http://127.0.0.1:${port}`;
  await listening(url);
  return { url, stop };
}

/** Users of nginx write the part in `location`. */
function configuration(
  port: number,
  targets: Readonly<Record<string, string>>,
  host: string,
): string {
  const locations = Object.entries(targets).map(([path, target]) => `
        location ${path} {
          proxy_pass ${target};
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
          proxy_set_header Host ${host};
        }`);
  return `
    daemon off;
    user root;
    pid nginx.pid;
    worker_processes 1;
    events {}
    http {
      access_log off;
      client_body_temp_path body;
      proxy_temp_path proxy;
      fastcgi_temp_path fastcgi;
      uwsgi_temp_path uwsgi;
      scgi_temp_path scgi;
      map $http_upgrade $connection_upgrade {
        default upgrade;
        "" close;
      }
      server {
        listen 127.0.0.1:${port};
        ${locations.join("")}
      }
    }
  `;
}

/** Waits until a server accepts connections. */
export async function listening(url: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const socket = await dial(url).catch(() => undefined);
    if (socket !== undefined) return void socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Nothing listens on ${url}`);
}
