// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// The log of frames. Only the rows that can be seen are in the page, so that many frames stay smooth.

const ROW_HEIGHT = 24;
const MAX_FRAMES = 10000;
const frames = { all: [], shown: [], paused: false, chosen: undefined, drawing: false };

const utf8 = new TextEncoder();

/** The notification with frames of other connections; they are shown, and it itself is not. */
const OTHERS = "rpc.frames";

wire.on("frame", ({ out, text, at }) => {
  if (frames.paused || (!out && text.startsWith(`{"jsonrpc":"2.0","method":"${OTHERS}"`))) return;
  addFrames([{ out, at, bytes: utf8.encode(text).length, text: maskSecrets(text) }]);
});

function addFrames(added) {
  frames.all.push(...added);
  if (frames.all.length > MAX_FRAMES) frames.all.splice(0, frames.all.length - MAX_FRAMES);
  drawSoon(true);
}

/** Frames of other connections, as the server sees them: out is what it has sent. */
function addOthers({ frames: others, lost }) {
  if (frames.paused) return;
  if (lost > 0) byId("frame-lost").textContent = `${lost} frames came too fast and are not here`;
  addFrames(others.map(({ direction, connection, text, bytes, time: at }) => ({
    connection,
    out: direction === "out",
    at: new Date(at),
    bytes,
    text,
  })));
}

/** Whether the caller may watch other connections can change with each login. */
async function offerOthers() {
  const isOffered = methods.all.some(({ name }) => name === OTHERS);
  const box = byId("frame-others");
  box.closest("label").hidden = !isOffered;
  if (!isOffered) box.checked = false;
  // A new connection does not watch yet.
  else if (box.checked) await watchOthers();
}

async function watchOthers() {
  byId("frame-lost").textContent = "";
  try {
    await wire.call(OTHERS, { on: byId("frame-others").checked });
  } catch (error) {
    byId("frame-others").checked = false;
    byId("frame-lost").textContent = error.message;
  }
}

function labelOf({ connection, at, out, bytes, text }) {
  const whose = connection === undefined ? "" : `#${connection} `;
  return `${time(at)} ${whose}${out ? "→" : "←"} ${bytes} ${text.slice(0, 300)}`;
}

/** By text, or by connection and text: "#3 add". */
function matches({ connection, text }, filter) {
  const [, number, rest = filter] = /^#(\d+)\s*(.*)$/.exec(filter) ?? [];
  return (number === undefined || connection === Number(number)) &&
    text.toLowerCase().includes(rest);
}

/** Draws once per picture, however many frames have come. */
function drawSoon(changed) {
  frames.changed ||= changed;
  if (frames.drawing) return;
  frames.drawing = true;
  requestAnimationFrame(() => {
    frames.drawing = false;
    if (frames.changed) {
      const filter = byId("frame-filter").value.toLowerCase();
      frames.shown = filter === ""
        ? frames.all.slice()
        : frames.all.filter((frame) => matches(frame, filter));
      frames.changed = false;
    }
    drawFrames();
  });
}

function drawFrames() {
  const view = byId("frame-view");
  byId("frame-count").textContent = `${frames.shown.length} frames${
    frames.paused ? ", paused" : ""
  }`;
  if (byId("frames").hidden) return;
  const space = byId("frame-space");
  const atEnd = view.scrollTop + view.clientHeight >= space.clientHeight - ROW_HEIGHT;
  space.style.height = `${frames.shown.length * ROW_HEIGHT}px`;
  if (atEnd) view.scrollTop = space.clientHeight;
  const first = Math.max(0, Math.floor(view.scrollTop / ROW_HEIGHT) - 5);
  const count = Math.ceil(view.clientHeight / ROW_HEIGHT) + 10;
  const rows = frames.shown.slice(first, first + count).map((frame) => {
    const row = element("button", {
      type: "button",
      tabIndex: -1,
      className: frame.out ? "out" : "in",
      "aria-current": String(frame === frames.chosen),
    }, labelOf(frame));
    row.onclick = () => chooseFrame(frame);
    return element("li", {}, row);
  });
  byId("frame-rows").replaceChildren(...rows);
  byId("frame-rows").style.transform = `translateY(${first * ROW_HEIGHT}px)`;
}

function chooseFrame(frame) {
  frames.chosen = frame;
  const whose = frame.connection === undefined
    ? ""
    : ` by the server, connection ${frame.connection},`;
  byId("frame-title").textContent =
    `${frame.out ? "Sent" : "Received"}${whose} at ${time(frame.at)}, ` +
    `${frame.bytes} bytes`;
  byId("frame-text").textContent = pretty(parsedOr(frame.text, frame.text));
  drawSoon(false);
}

byId("frame-view").onscroll = () => drawSoon(false);
byId("frame-view").onkeydown = (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined || frames.shown.length === 0) return;
  event.preventDefault();
  const at = frames.shown.indexOf(frames.chosen);
  const next = at === -1 ? frames.shown.length - 1 : at + step;
  const frame = frames.shown[Math.min(Math.max(next, 0), frames.shown.length - 1)];
  const view = byId("frame-view");
  const top = frames.shown.indexOf(frame) * ROW_HEIGHT;
  if (top < view.scrollTop) view.scrollTop = top;
  if (top + ROW_HEIGHT > view.scrollTop + view.clientHeight) {
    view.scrollTop = top + ROW_HEIGHT - view.clientHeight;
  }
  chooseFrame(frame);
};
byId("frame-others").onchange = () => void watchOthers();
byId("frame-filter").oninput = () => drawSoon(true);
byId("pause").onclick = () => {
  frames.paused = !frames.paused;
  byId("pause").setAttribute("aria-pressed", String(frames.paused));
  drawSoon(false);
};
byId("clear").onclick = () => {
  frames.all = [];
  frames.chosen = undefined;
  byId("frame-text").textContent = "";
  drawSoon(true);
};
byId("copy").onclick = async () => {
  const lines = frames.shown.map(({ connection, at, out, text }) =>
    `${at.toISOString()} ${connection === undefined ? "" : `#${connection} `}${
      out ? "→" : "←"
    } ${text}`
  );
  await navigator.clipboard?.writeText(lines.join("\n"));
};
