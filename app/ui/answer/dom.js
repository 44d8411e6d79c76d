// Small pieces of HTML. Texts of models and people are set as text, never as HTML.

export function element(name, css, ...content) {
  const made = document.createElement(name);
  if (css) made.className = css;
  made.append(...content.filter((piece) => piece !== null && piece !== undefined));
  return made;
}

export function link(text, address, css = "") {
  const made = element("a", css, text);
  made.href = address;
  return made;
}

// A sentence of the server; addresses of pages in it become links.
export function sentence(text) {
  const parts = text.split(/((?:compare\?conversation|campaigns\?campaign)=\d+)/);
  return parts.map((part, at) => (at % 2 ? link(part, part) : part));
}

export function notice(kind, ...content) {
  const made = element("div", `hy-notice hy-${kind}`, ...content);
  made.setAttribute("role", kind === "error" ? "alert" : "note");
  return made;
}

export function button(text, act) {
  const made = element("button", "hy-button", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// The badge of a model: the letter and the colour of its method, and its name.
export function badge(badges, method, name) {
  const [letter, label] = badges[method] ?? [(method[0] ?? "?").toUpperCase(), method];
  const css = method in badges ? method : "reference";
  const mark = element("b", "", letter);
  mark.setAttribute("aria-hidden", "true");
  return element("span", `hy-method hy-${css}`, mark, name || label);
}

// A prompt: plain text, or the turns of a conversation.
export function turns(prompt) {
  if (typeof prompt === "string") return [element("div", "hy-text hy-tokens-plain", prompt)];
  return prompt.map(({ role, content }) =>
    element("div", "hy-turn", element("span", "hy-role", role), element("div", "hy-text hy-tokens-plain", content)),
  );
}

const MINUS = "\u2212";
const formats = new Map(); // making a format takes longer than using it a hundred times

function format(digits) {
  const exactly = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en", exactly));
  return formats.get(digits);
}

// A number with a true minus sign; a dash if it is not known.
export function number(value, digits = 2, { sign = false } = {}) {
  if (value === null || value === undefined) return "–";
  const text = format(digits).format(Math.abs(value));
  const zero = !/[1-9]/.test(text);
  return (value < 0 && !zero ? MINUS : sign && !zero ? "+" : "") + text;
}
