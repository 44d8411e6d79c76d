// The answer page: one answer, or two beside each other. The server says what this person may see.

import { badge, button, element, link, notice, sentence, turns } from "./dom.js";
import { call, isId, pause } from "./rest.js";
import { TokenView, sharedBeginning } from "./tokens.js";

const WAIT_SECONDS = 20;
const titleOf = (status) =>
  ({ 404: hyText("There is no such answer"), 409: hyText("This answer cannot be opened yet") })[status] ??
  hyText("The answer cannot be opened");

export function start(root) {
  root.closest(".prose")?.classList.remove("prose"); // Gradio's styles of texts
  const query = new URLSearchParams(location.search);
  new Page(root).open(query.get("id"), query.get("beside"));
}

class Page {
  constructor(root) {
    this.part = (name) => root.querySelector(`[data-part=${name}]`);
    this.badges = JSON.parse(root.dataset.badges);
    this.answers = [null, null]; // the answer of the address, and the one beside it
    this.views = [null, null];
    this.part("beside").addEventListener("change", (event) => this.putBeside(event.target.value));
    this.part("parting").addEventListener("click", () => this.togglePartings());
  }

  async open(id, beside) {
    if (!isId(id)) {
      if (/^\d+$/.test(id ?? "")) this.refuse(titleOf(404), hyText("No answer has the id {id}.", { id: id.slice(0, 40) }));
      else this.refuse(hyText("No answer is named"), hyText("Open one on Compare, or among a run's samples."));
      return;
    }
    const first = await this.read(0, id);
    if (!first) return;
    if (beside && !isId(beside))
      this.complain(hyText("The address names no answer to put beside this one."));
    else if (beside && beside !== id) await this.read(1, beside);
  }

  // Read an answer, ask for its scoring if nobody has, and follow it. Returns whether it may be seen.
  async read(place, id) {
    const reply = await call("GET", `generations/${id}/tokens`);
    if (!reply.ok) {
      if (place === 0) this.refuse(titleOf(reply.status), reply.sentence);
      else this.complain(reply.sentence);
      return false;
    }
    this.show(place, reply.data);
    if (!reply.data.scoring) this.score(place, id);
    else this.follow(place, id);
    return true;
  }

  async score(place, id) {
    const reply = await call("POST", `generations/${id}/tokens`);
    if (!reply.ok) {
      this.complain(reply.sentence, link(hyText("Score its text"), `score?answer=${id}`, "hy-button"));
      return;
    }
    this.show(place, reply.data);
    this.follow(place, id);
  }

  // Look again until the answer is scored.
  async follow(place, id) {
    while (this.answers[place]?.id === Number(id) && this.answers[place].scoring.status === "queued") {
      const asked = performance.now();
      const reply = await call("GET", `generations/${id}/tokens?wait=${WAIT_SECONDS}`);
      if (this.answers[place]?.id !== Number(id)) return;
      if (reply.ok) this.show(place, reply.data);
      else this.complain(reply.sentence);
      if (reply.status >= 400 && reply.status < 500) return;
      await pause(performance.now() - asked < 1000 ? 3 : 0.2);
    }
  }

  // --- what is shown ---

  show(place, answer) {
    const before = this.answers[place];
    this.answers[place] = answer;
    if (place === 0) this.showFrame(answer);
    else this.choose(answer);
    this.complain("");
    const scoring = answer.scoring;
    if (scoring?.status === "failed")
      this.complain(scoring.error, button(hyText("Try again"), () => this.score(place, answer.id)), "error");
    else if (scoring?.status === "queued")
      this.complain(
        answer.note || hyText("A worker computes the likeliest tokens in each place."),
        null,
        answer.note ? "warning" : "info",
      );
    const same = before?.id === answer.id && before.scoring?.status === scoring?.status;
    if (!same || !this.views[place]) this.draw(place, answer);
  }

  showFrame(answer) {
    const { author } = answer;
    this.part("body").hidden = false;
    const title = hyText("Answer {id}", { id: answer.id });
    this.part("title").textContent = title;
    document.title = `${title} · HyPO Studio`;
    this.part("lead").textContent = hyText(
      "Each token is coloured by how much likelier the model makes it than its reference. Point at one, tap it, or use the arrow keys.",
    );
    const links = [];
    if (answer.campaign_id) links.push(link(hyText("Campaign"), `campaigns?campaign=${answer.campaign_id}`, "hy-button"));
    else if (answer.conversation_id)
      links.push(link(hyText("Conversation"), `compare?conversation=${answer.conversation_id}`, "hy-button"));
    if (author.run_id)
      links.push(link(hyText("Run {id}", { id: author.run_id }), `run?id=${author.run_id}`, "hy-button"));
    links.push(link(hyText("Score another text"), `score?answer=${answer.id}`, "hy-button"));
    this.part("actions").replaceChildren(...links);
    this.part("turns").replaceChildren(...turns(answer.prompt));
    this.part("choose").hidden = !answer.beside.length;
    const options = answer.beside.map((other) => new Option(nameOf(other), other.id));
    this.part("beside").replaceChildren(new Option(hyText("no other answer"), ""), ...options);
    this.part("beside").value = this.answers[1]?.id ?? "";
  }

  // Name the answer beside in the list, even if it belongs to another prompt.
  choose(answer) {
    const list = this.part("beside");
    if (![...list.options].some(({ value }) => Number(value) === answer.id))
      list.append(new Option(hyText("{name} (answer {id})", { name: nameOf(answer.author), id: answer.id }), answer.id));
    list.value = answer.id;
    this.part("choose").hidden = false;
  }

  draw(place, answer) {
    const { author, scoring } = answer;
    const finished = scoring?.status === "finished";
    const tokens = finished ? scoring.tokens : answer.stored;
    if (!tokens.length && !finished) {
      const text = element("div", "hy-text hy-tokens-plain", answer.text || hyText("(empty)"));
      const plain = element("article", "hy-tokens-view", this.heading(author), text);
      this.views[place] = { root: plain, tokens: [], markParting() {} };
    } else {
      this.views[place] = new TokenView(this.heading(author), hyText("answer {id}", { id: answer.id }), tokens, {
        sums: finished ? { ...scoring, tokens: tokens.length } : null,
        notes: finished ? notesOn(answer) : [],
        isReference: author.method === "reference" || scoring?.step === 0,
      });
    }
    this.arrange();
  }

  heading(author) {
    const step = author.step === null ? "" : hyText("step {step}", { step: author.step });
    const at = step ? element("span", "hy-note", ` ${step}`) : null;
    return element("h2", "", badge(this.badges, author.method, author.name), at);
  }

  arrange() {
    const shown = this.views.filter(Boolean);
    this.part("views").replaceChildren(...shown.map((view) => view.root));
    this.part("views").dataset.count = shown.length;
    this.part("parting").hidden = shown.length < 2;
    this.markPartings();
  }

  // --- the other answer ---

  async putBeside(id) {
    window.hySetQuery({ beside: id });
    this.answers[1] = this.views[1] = null;
    this.complain("");
    this.arrange();
    if (id) await this.read(1, id);
  }

  togglePartings() {
    const toggle = this.part("parting");
    toggle.setAttribute("aria-pressed", toggle.getAttribute("aria-pressed") !== "true");
    this.markPartings();
  }

  markPartings() {
    const [one, other] = this.views;
    const wanted = one && other && this.part("parting").getAttribute("aria-pressed") === "true";
    const known = wanted && one.tokens.length && other.tokens.length;
    const count = known ? sharedBeginning(one.tokens, other.tokens) : null;
    for (const view of this.views) view?.markParting(count);
    if (known) for (const view of this.views) view.choose(Math.min(count, view.tokens.length - 1));
    this.part("parted").textContent = known ? this.partedWords(count) : "";
  }

  partedWords(count) {
    const [one, other] = this.views;
    if (this.answers[0].prompt_id !== this.answers[1].prompt_id) return hyText("These answers belong to different prompts.");
    if (count === one.tokens.length && count === other.tokens.length)
      return hyText("The answers are the same, token by token.");
    if (count === 0) return hyText("The answers part at their first token.");
    if (count === 1) return hyText("The first token is the same; the place where they part is framed.");
    return hyCount(
      "The first {n} token is the same; the place where they part is framed.",
      "The first {n} tokens are the same; the place where they part is framed.",
      count,
    );
  }

  // --- sentences ---

  // The answer is not there, or not for this person yet.
  refuse(title, text) {
    this.part("lead").textContent = "";
    this.part("body").hidden = true;
    const compare = link(hyText("Compare"), "compare", "hy-button");
    const ways = element("div", "hy-actions", compare, link(hyText("Runs"), "runs", "hy-button"));
    const empty = element("div", "hy-empty", element("h2", "", title), element("p", "", ...sentence(text)), ways);
    this.part("message").replaceChildren(empty);
  }

  complain(text, extra = null, kind = "warning") {
    const row = extra ? element("div", "hy-actions", extra) : null;
    this.part("message").replaceChildren(...(text ? [notice(kind, element("p", "", ...sentence(text)), row)] : []));
  }
}

function nameOf({ name, step }) {
  return step === null ? name : hyText("{name}, step {step}", { name, step });
}

function notesOn({ author, scoring }) {
  const notes = [];
  if (!scoring.as_sampled)
    notes.push(hyText("The sampled tokens are not known, so the text is split as its tokenizer splits it."));
  if (author.step !== null && scoring.step !== author.step)
    notes.push(
      hyText("Scored with the weights of step {step}, the nearest that are kept; written at step {written}.", {
        step: scoring.step,
        written: author.step,
      }),
    );
  return notes;
}
