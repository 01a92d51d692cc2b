/**
 * Conformance as a function of a running server (target.ts): each case is told the server's URL and speaks
 * JSON text to it, through doors that know nothing of our client.
 */
import "./suite/examples.ts";
import "./suite/specification.ts";
import "./suite/names_and_text.ts";
import "./suite/conversations.ts";
import "./suite/topics.ts";
import "./suite/events.ts";
import "./suite/frames.ts";
import "./suite/handshakes.ts";
import "./suite/posts.ts";

export { cases } from "./suite/case.ts";
export type { Case } from "./suite/case.ts";
