/**
 * A client of an Ethereum node as people write it with `ethers`: ethers_client.ts URL
 */
import process from "node:process";
import { obey, say } from "./talking.ts";

interface Provider {
  readonly websocket: { onclose: (event: { readonly code: number }) => void };
  getBlockNumber(): Promise<number>;
  on(event: unknown, listener: (value: never) => void): Promise<unknown>;
  off(event: unknown): Promise<unknown>;
  destroy(): Promise<void>;
}

// In a variable: only the folder where this is run has the package.
const name = "ethers";
const { WebSocketProvider }: { WebSocketProvider: new (url: string) => Provider } = await import(
  name
);

function open(): Provider {
  const made = new WebSocketProvider(process.argv[2] ?? "");
  // ethers leaves it to its users to connect anew.
  made.websocket.onclose = ({ code }) => say("close", code);
  void made.on("error", (error: Error) => say("error", error.message));
  return made;
}

let provider = open();
await obey({
  height: () => provider.getBlockNumber(),
  blocks: async () => {
    await provider.on("block", (height: number) => say("block", height));
  },
  noBlocks: async () => {
    await provider.off("block");
  },
  logs: async (address) => {
    await provider.on({ address }, ({ data }: { data: string }) => say("log", data));
  },
  again: () => {
    provider = open();
  },
});
await provider.destroy();
