/**
 * Which events of a shared topic go to which tab.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { SEND } from "../../src/core/internal.ts";
import { SharedTopic } from "../../src/shared_worker/shared_topic.ts";
import type { Tab } from "../../src/shared_worker/tab.ts";

test("an event that the server keeps for the first tab also goes to one that joins before it is here", () => {
  const topic = new SharedTopic("chat");
  const [first, second] = [newTab(), newTab()];
  topic.join(first.tab, { recover: false, since: undefined, position: "e:1", recovered: true });
  topic.joinHere(second.tab);
  topic.message({ topic: "chat", position: "e:2", data: "two", retained: true });
  assertEquals([first.sent, second.sent].map((texts) => texts.length), [1, 1]);
  assertEquals(topic.position, "e:2");
});

test("an event that the server keeps for a later tab goes to that one alone", () => {
  const topic = new SharedTopic("chat");
  const [first, second] = [newTab(), newTab()];
  const options = { recover: false, since: undefined, position: "e:2", recovered: true };
  topic.join(first.tab, options);
  topic.join(second.tab, options);
  topic.message({ topic: "chat", position: "e:2", data: "two", retained: true });
  assertEquals([first.sent, second.sent].map((texts) => texts.length), [0, 1]);
});

/** A tab, and the texts that were sent to it. */
function newTab(): { readonly tab: Tab; readonly sent: string[] } {
  const sent: string[] = [];
  return { tab: { [SEND]: (text: string) => void sent.push(text) } as unknown as Tab, sent };
}
