// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// The view of methods: what can be called, a form for its params, and what came back.

const methods = { all: [], chosen: undefined, pending: undefined, schemas: {} };
// Those that every server of this library has: they come behind the program's own.
const COMMON = ["get_methods", "get_subscriptions", "get_topics", "subscribe", "unsubscribe"];

async function loadMethods() {
  try {
    const { info, methods: described, components } = await wire.call("rpc.discover");
    methods.schemas = components?.schemas ?? {};
    byId("title").textContent = `${info.title} ${info.version} · inspector`;
    document.title = byId("title").textContent;
    methods.all = described;
  } catch {
    const names = await wire.call("get_methods").catch(() => []);
    methods.all = names.map((name) => ({ name, params: [] }));
  }
  const isCommon = ({ name }) => COMMON.includes(name) || name.startsWith("rpc.");
  methods.all.sort((a, b) => isCommon(a) - isCommon(b) || a.name.localeCompare(b.name));
  showMethods();
  // The method may have other params now, or be gone.
  const still = methods.all.find(({ name }) => name === methods.chosen?.name);
  if (still !== undefined) methods.chosen = still;
}

function showMethods() {
  const filter = byId("method-filter").value.toLowerCase();
  const found = methods.all.filter(({ name, summary = "" }) =>
    `${name} ${summary}`.toLowerCase().includes(filter)
  );
  byId("method-list").replaceChildren(...found.map((method) => {
    const button = element("button", {
      type: "button",
      className: method.deprecated ? "mono deprecated" : "mono",
      title: method.summary ?? "",
      "aria-current": String(method.name === methods.chosen?.name),
    }, method.name);
    button.onclick = () => chooseMethod(method);
    return element("li", {}, button);
  }));
}

function chooseMethod(method) {
  methods.chosen = method;
  showMethods();
  byId("method-name").textContent = method.name;
  const docs = [method.summary, method.description, method.deprecated ? "Deprecated." : undefined];
  byId("method-docs").textContent = docs.filter((each) => each).join(" ");
  showFields(method);
  byId("params-error").textContent = "";
  byId("result").replaceChildren();
  byId("call-form").hidden = false;
}

function parsedOr(text, fallback) {
  try {
    return JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** The params of the editor; shows why they cannot be sent, if so. */
function readParams() {
  const text = byId("params").value.trim();
  byId("params-error").textContent = "";
  if (text === "") return { params: undefined };
  try {
    return { params: JSON.parse(text) };
  } catch (error) {
    byId("params-error").textContent = `Params are no JSON: ${error.message}`;
    return undefined;
  }
}

async function callChosen() {
  const read = readParams();
  if (read === undefined) return;
  const { name } = methods.chosen;
  const began = performance.now();
  const call = methods.pending = wire.start(name, read.params);
  byId("cancel").disabled = false;
  const result = byId("result");
  result.replaceChildren(element("p", { className: "quiet" }, "Waiting for the answer …"));
  const took = () => `${(performance.now() - began).toFixed(1)} ms`;
  try {
    const value = await call.promise;
    const line = element("p", { className: "good" }, `Result after ${took()}`);
    result.replaceChildren(
      line,
      element("pre", { tabIndex: 0, id: "result-value" }, pretty(value)),
    );
  } catch (error) {
    const line = element("p", { className: "error" }, `Error after ${took()}`);
    result.replaceChildren(line, ...explain(error));
  }
  if (methods.pending === call) byId("cancel").disabled = true;
}

byId("method-filter").oninput = showMethods;
byId("call-form").onsubmit = (event) => {
  event.preventDefault();
  void callChosen();
};
byId("cancel").onclick = () => {
  wire.send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id: methods.pending.id } });
};
byId("notify").onclick = () => {
  const read = readParams();
  if (read === undefined) return;
  wire.send({ jsonrpc: "2.0", method: methods.chosen.name, params: read.params });
  byId("result").replaceChildren(
    element("p", { className: "quiet" }, "Sent. A notification has no answer."),
  );
};
