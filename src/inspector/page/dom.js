// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// Small helpers for the page. Text is always set as text, never as HTML.

const byId = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key.startsWith("data-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

function pretty(value) {
  return JSON.stringify(value, null, 2) ?? "null";
}

// Made once: toLocaleTimeString() makes a formatter for each call, which takes longer than all else of a frame.
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hour12: false });

function time(date) {
  return `${CLOCK.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** What the server answered in place of a result, for people. */
function explain({ code, message, data }) {
  const parts = [
    element("p", { className: "error" }, code === undefined ? message : `${message} (${code})`),
  ];
  if (CODES[code] !== undefined) parts.push(element("p", { className: "quiet" }, CODES[code]));
  if (data !== undefined) parts.push(element("pre", { tabIndex: 0 }, pretty(data)));
  return parts;
}
