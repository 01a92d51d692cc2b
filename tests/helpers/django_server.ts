/**
 * A Django site, a server beside it, and clients that come with the session cookie of the site.
 */
import { connect, JsonRpc, loginRequired, permissionRequired, userPassesTest } from "@x/jsonrpc";
import type { JsonRpcClient, StandardSocket } from "@x/jsonrpc";
import { django } from "@x/jsonrpc/django";
import type { DjangoOptions, DjangoUser } from "@x/jsonrpc/django";
import { WebSocket as WsSocket } from "ws";
import { SECRET_KEY, startDjango } from "./django.ts";
import { silentLog } from "./log.ts";
import { freePort } from "./ports.ts";
import { within } from "./raw_client.ts";
import { serveHere } from "./server.ts";

/** A site with users, and a server beside it that the site announces changes to. */
export async function siteAndServer(
  settings: Readonly<Record<string, unknown>> = {},
  options: Partial<DjangoOptions> = {},
) {
  const port = await freePort();
  const site = await startDjango({ RPC_URL: `http://127.0.0.1:${port}/rpc`, ...settings });
  const log = silentLog();
  const rpc = new JsonRpc({ logger: log })
    .use(django({ secretKey: SECRET_KEY, query: site.query, ...options }))
    .method("whoami", (_params: unknown, { user }) => user)
    .method("name", (_params: unknown, { user }) => user?.name ?? null)
    .method("secret", { use: [loginRequired] }, () => 42)
    .method("pin", { use: [permissionRequired("chatsite.change_message")] }, () => "pinned")
    .method(
      "staff",
      { use: [userPassesTest((user: DjangoUser) => user.isStaff)] },
      () => "staff only",
    )
    .topic("news", { guards: [loginRequired] })
    .topic("pins", { guards: [permissionRequired("chatsite.change_message")] });
  const server = await serveHere(rpc, port);
  await site.python(USERS);
  return {
    site,
    rpc,
    log,
    server,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await site[Symbol.asyncDispose]();
    },
  };
}

const USERS = `
def permission(codename):
    return Permission.objects.get(content_type__app_label="chatsite", codename=codename)
ada = User.objects.create_user("ada", "ada@example.org", "ada")
bob = User.objects.create_user("bob", password="bob", is_staff=True)
root = User.objects.create_superuser("root", password="root")
editors = Group.objects.create(name="editors")
editors.permissions.add(permission("change_message"))
ada.user_permissions.add(permission("add_message"))
ada.groups.add(editors)
`;

/** A client with the session cookie, as a browser has it. */
export function withSession(url: string, session: string): Promise<JsonRpcClient> {
  const headers = { cookie: `theme=dark; sessionid=${session}` };
  const WebSocket = class extends WsSocket {
    constructor(target: string, protocols?: string[]) {
      super(target, protocols ?? [], { headers });
    }
  } as unknown as new (url: string, protocols?: string[]) => StandardSocket;
  return connect(url, { headers, WebSocket, reconnect: false });
}

/** Resolves to the code that the connection is closed with. */
export function ending(client: JsonRpcClient): Promise<number> {
  const end = new Promise<number>((resolve) => {
    client.addEventListener("close", (event) => resolve((event as Event & { code: number }).code));
  });
  return within(end, "the end of the connection");
}
