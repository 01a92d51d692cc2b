/**
 * All cases. Each gets the URL of a running server (conformance_server.ts) and sends JSON text to it, without our
 * client.
 */
import "./examples.ts";
import "./specification.ts";
import "./names_and_text.ts";
import "./conversations.ts";
import "./topics.ts";
import "./events.ts";
import "./frames.ts";
import "./handshakes.ts";
import "./posts.ts";

export { cases } from "./case.ts";
export type { Case } from "./case.ts";
