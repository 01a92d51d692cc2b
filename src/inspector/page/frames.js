// The log of frames. Only the rows that can be seen are in the page, so that many frames stay smooth.

const ROW_HEIGHT = 24;
const MAX_FRAMES = 10000;
const frames = { all: [], shown: [], paused: false, chosen: undefined, drawing: false };

const utf8 = new TextEncoder();

wire.on("frame", ({ out, text, at }) => {
  if (frames.paused) return;
  frames.all.push({ out, at, bytes: utf8.encode(text).length, text: maskSecrets(text) });
  if (frames.all.length > MAX_FRAMES) frames.all.splice(0, frames.all.length - MAX_FRAMES);
  drawSoon(true);
});

function labelOf({ at, out, bytes, text }) {
  return `${time(at)} ${out ? "→" : "←"} ${bytes} ${text.slice(0, 300)}`;
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
        : frames.all.filter(({ text }) => text.toLowerCase().includes(filter));
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
  byId("frame-title").textContent = `${frame.out ? "Sent" : "Received"} at ${time(frame.at)}, ` +
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
  const lines = frames.shown.map(({ at, out, text }) =>
    `${at.toISOString()} ${out ? "→" : "←"} ${text}`
  );
  await navigator.clipboard?.writeText(lines.join("\n"));
};
