/**
 * A page that gets the progress of a call over POST, and gives another call up in the midst.
 */
import { connect } from "../../src/client/client.ts";

const client = await connect(new URL("/rpc", location.href).href);
const seen: unknown[] = [];
const onProgress = (value: unknown) => void seen.push(value);
const result = await client.call("work", [2], { onProgress });
const controller = new AbortController();
const { signal } = controller;
const given = client.call("work", [1e6], { signal, onProgress: () => controller.abort("enough") });
const reason = await given.catch((reason) => reason);
document.title = JSON.stringify([seen, result, reason]);

declare const document: { title: string };
