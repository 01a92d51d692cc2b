/**
 * Users by JSON Web Token: over WebSocket, over POST, and a new token before the old one expires.
 *
 *     deno run -A examples/jwt.ts
 */
import process from "node:process";
import { SignJWT } from "jose";
import { connect, JsonRpc, loginRequired, permissionRequired } from "@x/jsonrpc";
import { jwt } from "@x/jsonrpc/jwt";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);
const issuer = "https://id.example";
const audience = "https://rpc.example";

// Here the program makes the tokens itself. With an identity provider, put this in place of `secret`:
//   jwks: new URL("https://id.example/.well-known/jwks.json"), algorithms: ["RS256"]
const secret = crypto.getRandomValues(new Uint8Array(32));

function tokenFor(name: string, scope: string): Promise<string> {
  return new SignJWT({ sub: name, scope, iss: issuer, aud: audience })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("15m")
    .sign(secret);
}

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .use(jwt({ secret, algorithms: ["HS256"], issuer, audience }))
  .method(
    "greet",
    { use: [loginRequired] },
    ({ greeting }: { greeting: string }, { user }) => `${greeting}, ${user.name}`,
  )
  .method("restart", { use: [permissionRequired("operate")] }, () => "restarting");

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

// A client; in your project it is another program. The token goes with the handshake, ...
const token = await tokenFor("ada", "read");
const client = await connect(`ws://${hostname}:${port}`, { token });
console.log("over WebSocket:", await client.call("greet", { greeting: "hello" }));
await client.call("restart").catch(({ message }) => console.log("restart:", message));

// ... and a later one by a call, before the first expires. Else the server closes the connection with 4401.
await client.call("login", { token: await tokenFor("ada", "read operate") });
console.log("restart:", await client.call("restart"));

const poster = await connect(`http://${hostname}:${port}`, { token });
console.log("over POST:", await poster.call("greet", { greeting: "hello" }));
