/**
 * What `rpc.discover` tells of the methods that topics add to a server.
 *
 * @module
 */

import type { MethodDocument } from "../core/plugin.ts";

const NAMES = { type: "array", items: { type: "string" } };
const MAP_OF_TEXTS = { type: "object", additionalProperties: { type: "string" } };
const TOPICS = {
  name: "topics",
  required: true,
  schema: { anyOf: [{ type: "string" }, NAMES] },
};

/** The documents by method. */
export const TOPIC_METHODS: Readonly<
  Record<"get_topics" | "get_subscriptions" | "subscribe" | "unsubscribe", MethodDocument>
> = {
  get_topics: { summary: "Lists the topics that you may subscribe to", params: [], result: NAMES },
  get_subscriptions: { summary: "Lists your subscriptions", params: [], result: NAMES },
  subscribe: {
    summary: "Subscribes to topics; answers with all your subscriptions",
    structure: "by-name",
    params: [
      TOPICS,
      { name: "recover", schema: { type: "boolean" } },
      { name: "since", schema: MAP_OF_TEXTS },
      {
        name: "last",
        schema: { type: "object", additionalProperties: { type: "integer", minimum: 0 } },
      },
      { name: "retained", schema: { type: "boolean" } },
      { name: "ages", schema: { type: "boolean" } },
    ],
    result: {
      anyOf: [NAMES, {
        type: "object",
        required: ["subscriptions"],
        properties: {
          subscriptions: NAMES,
          positions: MAP_OF_TEXTS,
          recovered: { type: "object", additionalProperties: { type: "boolean" } },
          ages: { type: "object", additionalProperties: { type: "number" } },
        },
      }],
    },
  },
  unsubscribe: {
    summary: "Ends subscriptions; answers with those that are left",
    structure: "by-name",
    params: [TOPICS],
    result: NAMES,
  },
};
