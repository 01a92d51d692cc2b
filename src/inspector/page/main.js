// Views, login, calls of the server, and the beginning.

const views = [...document.querySelectorAll("[data-view]")];
for (const button of views) {
  button.onclick = () => {
    for (const each of views) {
      each.setAttribute("aria-pressed", String(each === button));
      byId(each.dataset.view).hidden = each !== button;
    }
    drawSoon(true);
  };
}

wire.on("state", ({ state, text }) => {
  byId("state").textContent = text;
  byId("state").dataset.state = state;
  if (state === "open") void refresh();
});

/** What a caller may use depends on who is logged in. */
async function refresh() {
  await loadMethods();
  await offerOthers();
  await loadTopics();
}

wire.on("ask", ({ id, method, params }) => {
  const answer = element("textarea", { rows: 3, value: "true", spellcheck: false });
  const problem = element("p", { className: "error", role: "alert" });
  const card = element("form", {});
  const finish = (message) => {
    wire.send({ jsonrpc: "2.0", id, ...message });
    card.remove();
    byId("asks").hidden = byId("ask-list").children.length === 0;
  };
  const refuse = element("button", { type: "button" }, "Answer with an error");
  refuse.onclick = () => finish({ error: { code: -32000, message: "Refused in the inspector" } });
  card.onsubmit = (event) => {
    event.preventDefault();
    try {
      finish({ result: JSON.parse(answer.value) });
    } catch (error) {
      problem.textContent = `The answer is no JSON: ${error.message}`;
    }
  };
  card.append(
    element("p", {}, element("strong", { className: "mono" }, method)),
    element("pre", { tabIndex: 0 }, pretty(params)),
    element("label", {}, "Answer (JSON) ", answer),
    problem,
    element("div", { className: "buttons" }, element("button", {}, "Answer"), refuse),
  );
  byId("ask-list").append(card);
  byId("asks").hidden = false;
});

byId("connect").onclick = () => wire.connect();
byId("token-form").onsubmit = (event) => {
  event.preventDefault();
  wire.token = event.target.elements.token.value || undefined;
  wire.connect();
};

async function logIn(method, params) {
  const shown = byId("login-result");
  try {
    shown.textContent = await wire.call(method, params) === false
      ? "Wrong user or password"
      : "Done";
    await refresh();
  } catch (error) {
    shown.textContent = error.code === -32601
      ? `This server has no method ${method}`
      : error.message;
  }
}

byId("password-form").onsubmit = (event) => {
  event.preventDefault();
  const { username, password } = event.target.elements;
  void logIn("login", { username: username.value, password: password.value });
  password.value = "";
};
byId("logout").onclick = () => void logIn("logout");

wire.connect();
