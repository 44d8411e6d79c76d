// Keys, buttons and the reason's form, as names of actions.

const KEYS = { 0: "tie", x: "bad", s: "skip", u: "undo", r: "raw", g: "guidelines", "?": "help", Escape: "cancel" };
const SCROLL = { ArrowDown: 60, ArrowUp: -60, PageDown: 0.85, PageUp: -0.85, " ": 0.85, Home: -1e6, End: 1e6 };
const TYPING = "input, textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "button, a, summary, [role=button]";

export function listen(root, act) {
  document.addEventListener("keydown", (event) => onKey(root, act, event));
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) act(button.dataset.act, event);
  });
  const form = root.querySelector("[data-part=reason]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("send", event);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    act("cancel", event);
  });
}

function onKey(root, act, event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const dialog = root.querySelector("dialog");
  if (dialog.open) {
    if (event.key === "?") dialog.close();
    return;
  }
  if (target.closest(TYPING)) return;
  const name = nameOf(event);
  if (name && !event.repeat) {
    event.preventDefault();
    act(name, event);
  } else if (event.key in SCROLL && !scrolls(target, root)) {
    if (event.key === " " && target.closest(PRESSED_BY_SPACE)) return;
    event.preventDefault();
    scroll(root, SCROLL[event.key]);
  }
}

// The action of a key. On a layout without Latin letters the key's place counts, as on a French keyboard's digits.
function nameOf({ key, code, shiftKey }) {
  const typed = /^[1-4]$/.test(key) ? key : KEYS[key] ?? KEYS[key.toLowerCase()];
  if (typed || shiftKey || /^[a-z0-9]$/i.test(key)) return typed;
  const [, place] = /^(?:Key|Digit)([A-Z0-9])$/.exec(code) ?? [];
  if (!place) return undefined;
  return /^[1-4]$/.test(place) ? place : KEYS[place.toLowerCase()];
}

// Whether the browser scrolls the focused part itself.
function scrolls(target, root) {
  const part = target.closest("[tabindex='0']");
  return part !== null && root.contains(part) && part.scrollHeight > part.clientHeight;
}

// Scroll all answers at once; on a narrow screen, the page that they are on.
function scroll(root, by) {
  const parts = [root.querySelector("[data-part=item]"), ...root.querySelectorAll(".hy-label-answer")];
  for (const part of parts) part.scrollBy({ top: Math.abs(by) < 1 ? by * part.clientHeight : by });
}
