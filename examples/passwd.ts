/**
 * Users with passwords and permissions. A client that is not logged in sees neither the method nor the
 * topic, and a user who loses a permission loses both at once, on the open connection.
 *
 *     deno run -A examples/passwd.ts
 */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { connect, JsonRpc, loginRequired, permissionRequired } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { passwd } from "@x/jsonrpc/passwd";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

// In your program, use a file that stays. Code creates the first user; clients may create others by
// calling `create_user`.
const users = passwd(join(await mkdtemp(join(tmpdir(), "users-")), "users.txt"));
await users.createUser("root", "correct horse", { superuser: true });

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .use(users)
  .method(
    "greet",
    { use: [loginRequired] },
    ({ greeting }: { greeting: string }, { user }) => `${greeting}, ${user.name}`,
  )
  .method("restart", { use: [permissionRequired("operate")] }, () => "restarted")
  .topic("alarms", { guards: [permissionRequired("operate")] });

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

// The clients; in your project they are other programs.
const root = await connect(`ws://${hostname}:${port}`);
const ann = await connect(`ws://${hostname}:${port}`);
console.log("a stranger sees:", (await ann.getMethods()).includes("greet"));

await root.call("login", { username: "root", password: "correct horse" });
await root.call("create_user", { username: "ann", password: "battery staple" });

console.log("a wrong password:", await ann.call("login", { username: "ann", password: "?" }));
console.log("ann:", await ann.call("login", { username: "ann", password: "battery staple" }));
console.log(await ann.call("greet", { greeting: "hello" }));
console.log("ann restarts:", await ann.call("restart").catch((error) => error.message));

await users.setPermissions("ann", { permissions: ["operate"] });
await ann.subscribe("alarms", (text) => console.log("alarm:", text));
console.log("an operator restarts:", await ann.call("restart"));

await users.setPermissions("ann", { permissions: [] });
console.log("ann is still subscribed to:", await ann.getSubscriptions());

const old_password = "battery staple";
console.log("new:", await ann.call("set_password", { old_password, password: "stapler" }));
