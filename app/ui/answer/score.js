// The scores of a pasted text: a row for each contender and reference, and the tokens of the chosen one.

import { badge, button, element, notice, number, sentence, turns } from "./dom.js";
import { call, isId, pause } from "./rest.js";
import { TokenView } from "./tokens.js";

const WAIT_SECONDS = 20;

export function start(root) {
  const query = new URLSearchParams(location.search);
  if (!isId(query.get("id"))) return; // the server says what is wrong with another one
  root.closest(".prose")?.classList.remove("prose"); // Gradio's styles of texts
  root.hidden = false;
  new Scores(root, query.get("id"), Number(query.get("show") ?? NaN)).follow();
}

class Scores {
  constructor(root, id, chosen) {
    this.part = (name) => root.querySelector(`[data-part=${name}]`);
    this.badges = JSON.parse(root.dataset.badges);
    this.id = id;
    this.chosen = chosen;
    this.drawn = "";
  }

  async follow() {
    let path = `scored-texts/${this.id}`;
    for (;;) {
      const asked = performance.now();
      const reply = await call("GET", path);
      if (reply.ok) this.show(reply.data);
      else this.say("warning", reply.sentence);
      if (reply.ok ? reply.data.over : reply.status !== 0) return;
      path = `scored-texts/${this.id}?wait=${WAIT_SECONDS}`;
      await pause(performance.now() - asked < 1000 ? 1 : 0.2);
    }
  }

  async retry() {
    const reply = await call("POST", `scored-texts/${this.id}/retry`);
    if (!reply.ok) this.say("warning", reply.sentence);
    else {
      this.show(reply.data);
      this.follow();
    }
  }

  show(data) {
    this.data = data;
    this.part("body").hidden = false;
    this.part("turns").replaceChildren(
      ...turns(data.prompt),
      element("div", "hy-turn", element("span", "hy-role", hyText("text")), element("div", "hy-text hy-tokens-plain", data.text)),
    );
    const failed = data.contenders.filter(({ scoring }) => scoring.status === "failed");
    if (!data.over) this.say(data.note ? "warning" : "info", data.note || hyText("A worker scores the text."));
    else if (failed.length) {
      const reasons = failed.map(({ name, scoring }) => `${name}: ${scoring.error}`);
      this.say("error", reasons.join(" "), button(hyText("Try again"), () => this.retry()));
    } else this.say("info", "");
    const state = data.contenders.map(({ scoring }) => scoring.status).join();
    if (state === this.drawn) return;
    this.drawn = state;
    if (!this.done(this.chosen)) this.chosen = this.firstToShow();
    this.showTable();
    this.showTokens();
  }

  done(at) {
    return this.data.contenders[at]?.scoring.status === "finished";
  }

  firstToShow() {
    const { contenders } = this.data;
    const tuned = contenders.findIndex(({ method }, at) => method !== "reference" && this.done(at));
    return tuned >= 0 ? tuned : contenders.findIndex((_, at) => this.done(at));
  }

  showTable() {
    const head = [
      ...[hyText("Model"), hyText("Tokens"), "log p", hyText("per token"), hyText("Perplexity")],
      ...[hyText("Log-ratio"), ""],
    ];
    const headers = head.map((title, at) => {
      const cell = element("th", at > 0 && at < 6 ? "hy-num" : "", title || element("span", "hy-sr", hyText("Actions")));
      cell.scope = "col";
      return cell;
    });
    const rows = this.rows().map((cells) =>
      element("tr", "", ...cells.map((cell, at) => {
        const made = element("td", at > 0 && at < 6 ? "hy-num" : "", element("div", "", cell));
        made.dataset.label = head[at];
        return made;
      })),
    );
    const body = [element("thead", "", element("tr", "", ...headers)), element("tbody", "", ...rows)];
    const table = element("table", "hy-table hy-stack", ...body);
    table.setAttribute("aria-label", hyText("Scores by model"));
    const words = hyText("In nats, the end token included. The log-ratio is log π − log π_ref of the whole text.");
    this.part("table").replaceChildren(element("div", "hy-table-wrap", table), element("p", "hy-note", words));
  }

  // The contenders in order, and the references that are none of them.
  rows() {
    const rows = [];
    const references = new Map();
    this.data.contenders.forEach(({ name, method, base_model, scoring }, at) => {
      const count = scoring.tokens.length.toLocaleString("en");
      const open = this.done(at) && this.data.contenders.length > 1 ? this.opener(at) : "";
      const waits = scoring.status === "queued" ? hyText("waiting") : hyText("failed");
      const numbers = this.done(at)
        ? [count, ...sums(scoring.policy), number(scoring.log_ratio, 2, { sign: true })]
        : [waits, "–", "–", "–", "–"];
      rows.push([badge(this.badges, method, name), ...numbers, open]);
      if (method === "reference") references.set(base_model, null);
      else if (this.done(at) && !references.has(base_model))
        references.set(base_model, [badge(this.badges, "reference"), count, ...sums(scoring.reference), "–", ""]);
    });
    return [...rows, ...[...references.values()].filter(Boolean)];
  }

  opener(at) {
    const made = button(hyText("Tokens"), () => {
      this.chosen = at;
      window.hySetQuery({ show: String(at) });
      this.showTable();
      this.showTokens();
    });
    made.setAttribute("aria-pressed", at === this.chosen);
    made.setAttribute("aria-label", hyText("Tokens of {name}", { name: this.data.contenders[at].name }));
    return made;
  }

  showTokens() {
    const one = this.data.contenders[this.chosen];
    if (!one) return this.part("views").replaceChildren();
    const { scoring, method } = one;
    const view = new TokenView(element("h2", "", badge(this.badges, method, one.name)), one.name, scoring.tokens, {
      sums: { ...scoring, tokens: scoring.tokens.length },
      isReference: method === "reference",
    });
    this.part("views").replaceChildren(view.root);
  }

  say(kind, text, extra = null) {
    const row = extra ? element("div", "hy-actions", extra) : null;
    this.part("message").replaceChildren(...(text ? [notice(kind, element("p", "", ...sentence(text)), row)] : []));
  }
}

function sums({ logp, mean_logp, perplexity }) {
  return [number(logp, 1), number(mean_logp), number(perplexity)];
}
