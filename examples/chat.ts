/**
 * A chat with rooms, and a page for it. Each room is a topic. The list of people in it is another
 * topic, whose last event new subscribers get at once.
 *
 *     deno run -A examples/chat.ts
 */
import process from "node:process";
import { JsonRpc, RpcInvalidParamsError, type } from "@x/jsonrpc";
import type { Connection } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { page } from "./page.ts";

interface Member {
  readonly room: string;
  readonly name: string;
}

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);
const members = new Map<Connection, Member>();

export const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .topic("room.*", { schema: type<{ name: string; text: string; time: string }>() })
  .topic("people.*", { retain: true, schema: type<string[]>() })
  .method("enter", ({ room, name }: Member, { connection }) => {
    check(/^[\w-]{1,20}$/.test(room), "A room is named by 1 to 20 letters, digits, - or _");
    check(/^\S.{0,29}$/.test(name), "A name has 1 to 30 characters");
    leave(connection);
    members.set(connection, { room, name });
    connection.signal.addEventListener("abort", () => leave(connection));
    publishPeople(room);
  })
  .method("say", ({ text }: { text: string }, { connection }) => {
    const member = members.get(connection);
    check(typeof text === "string" && text.length <= 1000, "A text has at most 1000 characters");
    if (member === undefined) throw new RpcInvalidParamsError({ data: "Enter a room first" });
    rpc.publish(`room.${member.room}`, { name: member.name, text, time: new Date().toISOString() });
  })
  .method("leave", ({ room }: { room: string }, { connection }) => {
    if (members.get(connection)?.room === room) leave(connection);
  })
  .use(await page("chat.html"));

function leave(connection: Connection): void {
  const member = members.get(connection);
  members.delete(connection);
  if (member !== undefined) publishPeople(member.room);
}

function publishPeople(room: string): void {
  const names = [...members.values()].filter((member) => member.room === room).map(({ name }) =>
    name
  );
  rpc.publish(`people.${room}`, names);
}

function check(holds: boolean, data: string): void {
  if (!holds) throw new RpcInvalidParamsError({ data });
}

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}

Open it in two windows.`);
