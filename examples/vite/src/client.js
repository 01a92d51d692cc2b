import { JsonRpcClient } from "@x/jsonrpc/client";
import { topicStore } from "@x/jsonrpc/store";

// Connects with the first call or subscription.
export const client = new JsonRpcClient("/rpc");
export const clock = topicStore(client, "clock", { initial: "…" });
