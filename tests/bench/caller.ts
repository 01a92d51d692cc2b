/**
 * Measures what a call costs the client: `caller.ts floor | ours URL MS`. Prints the number of answered calls and
 * the CPU time of this process.
 */
import process from "node:process";
import { connect } from "@x/jsonrpc/client";

type Call = () => Promise<unknown>;

const IN_FLIGHT = 100;
const WARM_MS = 300;
const [, , contender, url = "", ms] = process.argv;

/** A socket, a Map and JSON by hand. */
async function floor(): Promise<Call> {
  const socket = new WebSocket(url);
  const waiting = new Map<number, (result: unknown) => void>();
  let lastId = 0;
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(data) as { id: number; result: unknown };
    waiting.get(id)?.(result);
    waiting.delete(id);
  };
  await new Promise((resolve) => socket.onopen = resolve);
  return () =>
    new Promise((resolve) => {
      const id = ++lastId;
      waiting.set(id, resolve);
      const params = { a: 1, b: 2 };
      socket.send(JSON.stringify({ jsonrpc: "2.0", method: "add", params, id }));
    });
}

async function ours(): Promise<Call> {
  const client = await connect(url);
  return () => client.call("add", { a: 1, b: 2 });
}

const call = await (contender === "floor" ? floor() : ours());
let count = 0;
let running = true;

async function work(): Promise<void> {
  while (running) {
    if (await call() !== 3) throw new Error("Expected 3");
    count++;
  }
}

const workers = Array.from({ length: IN_FLIGHT }, work);
await new Promise((resolve) => setTimeout(resolve, WARM_MS));
const before = count;
const { user, system } = process.cpuUsage();
const start = performance.now();
await new Promise((resolve) => setTimeout(resolve, Number(ms)));
const used = process.cpuUsage();
const outcome = {
  count: count - before,
  ms: performance.now() - start,
  cpuMs: (used.user + used.system - user - system) / 1000,
};
running = false;
await Promise.all(workers);
console.log(JSON.stringify(outcome));
process.exit();
