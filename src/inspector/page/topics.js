// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// The view of topics: subscriptions, their events, and gaps.

const MAX_EVENTS = 500;
const topics = { positions: new Map() };

async function loadTopics() {
  const names = await wire.call("get_topics").catch(() => []);
  byId("topic-names").replaceChildren(...names.map((value) => element("option", { value })));
  byId("topic-list").replaceChildren(...names.map((name) => {
    const button = element("button", { type: "button", className: "mono" }, name);
    button.onclick = () => {
      byId("topic").value = name;
      byId("topic").focus();
    };
    return element("li", {}, button);
  }));
  byId("topic-none").hidden = names.length > 0;
  // A new connection has no subscriptions yet: go on where each topic stood.
  for (const [topic, { recover, position }] of topics.positions) {
    await subscribeTo(topic, { recover, since: position });
  }
}

async function subscribeTo(topic, { recover, since, last = 0 }) {
  byId("topic-error").textContent = "";
  try {
    const params = { topics: [topic] };
    if (recover) params.recover = true;
    if (recover && since !== undefined) params.since = { [topic]: since };
    else if (last > 0) params.last = { [topic]: last };
    const answer = await wire.call("subscribe", params);
    const { subscriptions = answer, positions = {}, recovered = {} } = answer;
    if (!subscriptions.includes(topic)) throw { message: `There is no topic "${topic}" for you` };
    topics.positions.set(topic, { recover, position: positions[topic] });
    if (since !== undefined && recovered[topic] === false) {
      addEvent(topic, undefined, "gap: events were lost");
    }
  } catch (error) {
    topics.positions.delete(topic);
    byId("topic-error").textContent = error.message;
  }
  showSubscriptions();
}

function showSubscriptions() {
  byId("subscription-list").replaceChildren(...[...topics.positions.keys()].map((topic) => {
    const end = element(
      "button",
      { type: "button", "aria-label": `Unsubscribe from ${topic}` },
      "Unsubscribe",
    );
    end.onclick = async () => {
      topics.positions.delete(topic);
      showSubscriptions();
      await wire.call("unsubscribe", [topic]).catch(() => {});
    };
    return element("li", {}, element("span", { className: "mono" }, topic), end);
  }));
}

/** Events that came since the last picture: a flood of them is drawn once per picture, not one by one. */
const newEvents = [];

function addEvent(topic, data, note) {
  newEvents.push({ at: new Date(), topic, data, note });
  if (newEvents.length > MAX_EVENTS) newEvents.shift();
  if (newEvents.length === 1) requestAnimationFrame(drawEvents);
}

function drawEvents() {
  const list = byId("events");
  const items = newEvents.splice(0).map(({ at, topic, data, note }) =>
    element(
      "li",
      { className: note === undefined ? "" : "gap" },
      element("span", { className: "quiet" }, `${time(at)} `),
      element("strong", { className: "mono" }, topic),
      element("span", { className: "mono" }, ` ${note ?? JSON.stringify(data) ?? "null"}`),
    )
  );
  list.prepend(...items.reverse());
  while (list.children.length > MAX_EVENTS) list.lastChild.remove();
}

wire.on("notification", ({ method, params }) => {
  if (method === "rpc.message") {
    const { topic, position, data, gap } = params;
    const known = topics.positions.get(topic);
    if (known !== undefined) known.position = position;
    addEvent(topic, data, gap ? "gap: events were lost" : undefined);
  } else if (method === "rpc.removed") {
    topics.positions.delete(params.topic);
    addEvent(params.topic, undefined, "the server has ended the topic");
    showSubscriptions();
  } else if (method === OTHERS) addOthers(params);
  else addEvent(method, params);
});

byId("topic-form").onsubmit = (event) => {
  event.preventDefault();
  const last = Number(byId("last").value);
  void subscribeTo(byId("topic").value.trim(), { recover: byId("recover").checked, last });
};
