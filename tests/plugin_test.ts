import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired } from "@x/jsonrpc";
import type { Plugin } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";

interface Person {
  readonly name: string;
}

/** A backend as others could write one: its methods are known to the compiler. */
function trusting(): Plugin<Person | null, { login(params: { name: string }): boolean }> {
  const backend = {
    methods: {
      login: {
        handler: (
          person: Person,
          { connection }: { connection: { login(user: object): void } },
        ) => {
          connection.login(person);
          return true;
        },
        socketOnly: true,
      },
    },
  };
  return backend;
}

test("use() gives clients the methods of a plugin, and handlers its user, as types too", async () => {
  const rpc = new JsonRpc()
    .use(trusting())
    .use((_request, next) => next())
    .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name);
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using client = await connect<typeof rpc>(near);
  const done: boolean = await client.call("login", { name: "ada" });
  const name: string = await client.remote.whoami();
  assertEquals([done, name], [true, "ada"]);
  // @ts-expect-error -- not what login takes
  await client.call("login", { who: "ada" });
});
