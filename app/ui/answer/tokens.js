// A text as its tokens: coloured by log-ratio, with the numbers of the token under the pointer or the focus.

import { element, number } from "./dom.js";
import { Scale, ratio } from "./scale.js";

let views = 0;

export class TokenView {
  // heading: an element with the name of the model; label: its name in words; tokens: as the API shows them.
  constructor(heading, label, tokens, { sums = null, notes = [], isReference = false } = {}) {
    this.label = label;
    this.tokens = tokens;
    this.isReference = isReference;
    this.id = `hy-tokens-${++views}`;
    this.chosen = 0;
    this.scale = new Scale(tokens);
    this.panel = element("div", "hy-token-panel");
    this.panel.setAttribute("role", "group");
    this.panel.setAttribute("aria-label", hyText("The chosen token of {label}", { label }));
    this.list = this.makeList();
    const said = [...notes];
    if (isReference) said.push(hyText("These are the reference's own weights, so every log-ratio is 0."));
    else if (this.scale.largest < 0.1 && tokens.length)
      said.push(
        hyText("No token differs from the reference by more than {most} nats.", { most: number(this.scale.largest, 3) }),
      );
    this.root = element(
      "article",
      "hy-tokens-view",
      element("header", "", heading, sums ? facts(sums, isReference) : null),
      ...said.map((words) => element("p", "hy-note", words)),
      tokens.length && !isReference ? this.scale.legend() : null,
      element("div", "hy-tokens-grid", this.list, this.panel),
      this.makeTable(),
    );
    if (tokens.length) this.choose(0);
    else this.panel.hidden = true;
  }

  makeList() {
    const list = element("div", "hy-token-list");
    list.tabIndex = 0;
    list.setAttribute("role", "listbox");
    const label = hyText("Tokens of {label}: arrow keys move from one to the next", { label: this.label });
    list.setAttribute("aria-label", label);
    list.append(...this.tokens.map((token, at) => this.makeToken(token, at)));
    if (!this.tokens.length) {
      list.removeAttribute("role");
      list.removeAttribute("tabindex");
      list.removeAttribute("aria-label");
      list.append(element("em", "hy-note", hyText("(no tokens)")));
      return list;
    }
    const place = (event) => event.target.closest?.("[data-at]")?.dataset.at;
    list.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "touch" && place(event) !== undefined) this.show(Number(place(event)));
    });
    list.addEventListener("pointerleave", () => this.show(this.chosen));
    list.addEventListener("click", (event) => {
      if (place(event) !== undefined) this.choose(Number(place(event)));
    });
    list.addEventListener("keydown", (event) => this.press(event));
    return list;
  }

  makeToken(token, at) {
    const span = element("span", "hy-token", ...drawn(token.text));
    span.id = `${this.id}-${at}`;
    span.dataset.at = at;
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", "false");
    span.setAttribute("aria-label", this.words(token));
    span.translate = false; // a model wrote it
    this.scale.paint(span, ratio(token));
    return span;
  }

  // A token with its numbers, for screen readers.
  words(token) {
    const policy = `log p ${number(token.policy)}`;
    if (this.isReference) return `${visible(token.text)}, ${policy}`;
    return hyText("{token}, log-ratio {ratio}, {policy}, reference {reference}", {
      token: visible(token.text),
      ratio: number(ratio(token), 2, { sign: true }),
      policy,
      reference: number(token.reference),
    });
  }

  press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.tokens.length - 1;
    const to = {
      ArrowRight: () => Math.min(last, this.chosen + 1),
      ArrowLeft: () => Math.max(0, this.chosen - 1),
      ArrowDown: () => this.onLine(1),
      ArrowUp: () => this.onLine(-1),
      Home: () => 0,
      End: () => last,
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.choose(to());
    this.list.children[this.chosen].scrollIntoView({ block: "nearest" });
  }

  // The token on the next line that is nearest to the chosen one.
  onLine(step) {
    const here = this.list.children[this.chosen].getBoundingClientRect();
    let line = null;
    let best = this.chosen;
    let nearest = Infinity;
    for (let at = this.chosen + step; at >= 0 && at < this.tokens.length; at += step) {
      const box = this.list.children[at].getBoundingClientRect();
      if ((box.top - here.top) * step < here.height / 2) continue;
      line ??= box.top;
      if (Math.abs(box.top - line) > here.height / 2) break;
      const distance = Math.abs(box.left - here.left);
      if (distance < nearest) [best, nearest] = [at, distance];
    }
    return best;
  }

  choose(at) {
    const before = this.list.children[this.chosen];
    before.setAttribute("aria-selected", "false");
    this.chosen = at;
    const span = this.list.children[at];
    span.setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", span.id);
    this.show(at);
  }

  // The numbers of a token in the panel.
  show(at) {
    if (this.shown === at) return;
    this.shown = at;
    const token = this.tokens[at];
    const rows = [[this.isReference ? "log p" : hyText("log p, policy"), number(token.policy)]];
    if (!this.isReference) {
      rows.push([hyText("log p, reference"), number(token.reference)]);
      rows.push([hyText("log-ratio"), number(ratio(token), 2, { sign: true })]);
    }
    this.panel.replaceChildren(
      element("h3", "", element("code", "", visible(token.text))),
      element("p", "hy-note", hyText("Token {n} of {total}", { n: at + 1, total: this.tokens.length })),
      element("dl", "hy-token-numbers", ...rows.flatMap(pair)),
      element("div", "hy-token-tops", ...this.likeliest(token)),
    );
  }

  likeliest(token) {
    if (!token.policy_top.length)
      return [element("p", "hy-note", hyText("The likeliest tokens here appear once a worker has computed them."))];
    const title = this.isReference ? hyText("Likeliest here") : hyText("Policy's likeliest");
    const tops = [top(title, token.policy_top, token.text)];
    if (!this.isReference) tops.push(top(hyText("Reference's likeliest"), token.reference_top, token.text));
    return tops;
  }

  // The same as a table, made when it is opened.
  makeTable() {
    const summary = element("summary", "", hyText("The same as a table"));
    const details = element("details", "hy-fold hy-tokens-table", summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(table(this.tokens, this.label));
    });
    return details;
  }

  // Mark the tokens before the place where this text parts from another one; null removes the marks.
  markParting(count) {
    [...this.list.children].forEach((span, at) => {
      span.classList.toggle("hy-shared", count !== null && at < count);
      span.classList.toggle("hy-parting", count !== null && at === count);
    });
  }
}

// The number of tokens that two texts begin with in common.
export function sharedBeginning(one, other) {
  const most = Math.min(one.length, other.length);
  let count = 0;
  while (count < most && one[count].text === other[count].text) count += 1;
  return count;
}

// A token with spaces, tabs and line breaks made visible.
export function visible(text) {
  return text.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");
}

// A token in the text: line breaks are marked and kept.
function drawn(text) {
  const parts = text.split("\n");
  return parts.flatMap((part, at) => (at ? [element("i", "", "↵"), "\n", part] : [part]));
}

function facts({ tokens, policy, reference, log_ratio }, isReference) {
  const shown = [
    [hyText("tokens"), tokens.toLocaleString("en")],
    [isReference ? "log p" : hyText("log p, policy"), number(policy.logp, 1)],
    [hyText("perplexity"), number(policy.perplexity)],
  ];
  if (!isReference) {
    shown.push([hyText("log p, reference"), number(reference.logp, 1)]);
    shown.push([hyText("log-ratio"), number(log_ratio, 2, { sign: true })]);
  }
  const list = element("dl", "hy-facts");
  for (const row of shown) list.append(element("div", "", ...pair(row)));
  return list;
}

function pair([name, value]) {
  return [element("dt", "", name), element("dd", "", value)];
}

// The likeliest tokens with their probabilities; the token that stands there is marked.
function top(title, likely, text) {
  const list = element("ol", "hy-token-top");
  for (const [word, logp] of likely) {
    const share = logp === null ? 0 : Math.exp(logp);
    const percent = share >= 0.0005 ? `${(100 * share).toFixed(1)}%` : "<0.1%";
    const row = element("li", word === text ? "hy-chosen" : "", element("code", "", visible(word)), element("span", "", percent));
    row.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
    list.append(row);
  }
  return element("section", "", element("h4", "", title), list);
}

function table(tokens, label) {
  const head = ["", hyText("Token"), hyText("log p, policy"), hyText("log p, reference"), hyText("log-ratio")];
  const headers = head.map((title, at) => {
    const cell = element("th", at > 1 ? "hy-num" : "", title || "#");
    cell.scope = "col";
    return cell;
  });
  const rows = tokens.map((token, at) => {
    const cells = [
      String(at + 1),
      visible(token.text),
      number(token.policy),
      number(token.reference),
      number(ratio(token), 2, { sign: true }),
    ];
    return element("tr", "", ...cells.map((cell, column) => element("td", column > 1 ? "hy-num" : "", cell)));
  });
  const whole = element("table", "hy-table", element("thead", "", element("tr", "", ...headers)), element("tbody", "", ...rows));
  whole.setAttribute("aria-label", hyText("Tokens of {label} with their log-probabilities in nats", { label }));
  const wrap = element("div", "hy-table-wrap", whole);
  wrap.tabIndex = 0;
  wrap.setAttribute("role", "region");
  wrap.setAttribute("aria-label", hyText("Table of the tokens of {label}", { label }));
  return wrap;
}
