/**
 * Conformance as a function of a running server (target.ts): each case is told the server's URL and speaks
 * JSON text to it, through doors that know nothing of our client.
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
