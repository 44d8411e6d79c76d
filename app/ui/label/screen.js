// What is on the screen. Texts of models and people are set as text, or as HTML that the server made safe.

import * as memory from "./memory.js";

const SHORT_OPENING = 600; // characters up to which earlier messages are shown unfolded
const SAID_MS = 6000;

export class Screen {
  constructor(root, campaign) {
    this.root = root;
    this.campaign = campaign;
    this.part = (name) => root.querySelector(`[data-part=${name}]`);
    this.raw = memory.read(memory.key("raw"), false);
    this.slot = null;
    root.closest(".prose")?.classList.remove("prose"); // Gradio's styles of texts
    root.hidden = false;
    document.body.classList.add("hy-labelling");
    const nav = document.querySelector(".nav-holder");
    const place = () => root.style.setProperty("--hy-top", `${nav?.offsetHeight ?? 0}px`);
    place();
    if (nav) new ResizeObserver(place).observe(nav);
    this.button("raw").setAttribute("aria-pressed", this.raw);
  }

  button(act) {
    return this.root.querySelector(`[data-act=${act}]`);
  }

  act(name) {
    if (name === "raw") this.toggleRaw();
    if (name === "help") this.part("help").showModal();
    if (name === "guidelines" && this.guidelines) this.showGuidelines(this.part("guidelines").hidden);
  }

  // --- the campaign ---

  showCampaign({ name, guidelines, guidelines_html }) {
    this.root.querySelector("h1").textContent = name;
    document.title = [name, hyText("Label")].join(" · ");
    if (guidelines === this.guidelines) return;
    this.guidelines = guidelines;
    this.part("guidelines").innerHTML = guidelines_html;
    this.button("guidelines").hidden = !guidelines;
    const seen = memory.key("guidelines", this.campaign);
    this.showGuidelines(Boolean(guidelines) && memory.read(seen, "") !== guidelines);
    memory.write(seen, guidelines);
  }

  showGuidelines(open) {
    this.part("guidelines").hidden = !open;
    this.button("guidelines").setAttribute("aria-expanded", open);
  }

  showProgress({ voted, skipped, left }) {
    const share = Math.round((100 * (voted + skipped)) / Math.max(1, voted + skipped + left));
    this.part("progress").textContent = left
      ? hyText("{voted} judged, {left} to go for you", { voted, left })
      : hyText("{voted} judged, none to go for you", { voted });
    const track = this.root.querySelector(".hy-label-track");
    track.setAttribute("aria-valuenow", share);
    track.firstElementChild.style.width = `${share}%`;
  }

  // --- a comparison ---

  show(slot, campaign) {
    const within = this.part("item").contains(document.activeElement) || this.part("reason").contains(document.activeElement);
    this.slot = slot;
    this.root.dataset.state = "judging";
    this.part("reason").hidden = true;
    this.showOpening(slot.opening);
    fill(this.part("question"), slot.question, slot.question_html, this.raw);
    this.part("answers").replaceChildren(...slot.answers.map((answer, side) => this.answer(answer, side)));
    this.part("answers").dataset.count = slot.answers.length;
    this.showVotes(slot.answers.length);
    for (const part of [this.part("item"), this.root.querySelector(".hy-label-question")]) part.scrollTop = 0;
    if (within) this.part("item").focus({ preventScroll: true });
  }

  showOpening(opening) {
    const details = this.part("opening");
    details.hidden = !opening.length;
    if (!opening.length) return;
    const length = opening.reduce((sum, message) => sum + message.content.length, 0);
    details.open = length <= SHORT_OPENING;
    details.firstElementChild.textContent = hyCount(
      "{n} message before the question",
      "{n} messages before the question",
      opening.length,
    );
    details.lastElementChild.replaceChildren(
      ...opening.map(({ role, content }) =>
        element("div", "hy-turn", element("span", "hy-role", role), element("div", "hy-text hy-raw", content)),
      ),
    );
  }

  answer({ text, html }, side) {
    const body = element("div", "hy-md");
    body.dir = "auto";
    fill(body, text, html, this.raw);
    body.translate = false;
    const head = element("h2", "", element("span", "hy-sr", hyText("Answer"), " "), element("b", "", String(side + 1)));
    const whole = element("article", "hy-label-answer", head, body);
    whole.tabIndex = 0;
    whole.setAttribute("aria-label", hyText("Answer {number}", { number: side + 1 }));
    return whole;
  }

  toggleRaw() {
    this.raw = !this.raw;
    memory.write(memory.key("raw"), this.raw);
    this.button("raw").setAttribute("aria-pressed", this.raw);
    this.say(this.raw ? hyText("The texts are shown as they are.") : hyText("The texts are formatted."));
    if (!this.slot) return;
    fill(this.part("question"), this.slot.question, this.slot.question_html, this.raw);
    this.slot.answers.forEach(({ text, html }, side) => {
      fill(this.part("answers").children[side].lastElementChild, text, html, this.raw);
    });
  }

  // --- the vote bar ---

  showVotes(count) {
    const votes = this.part("votes");
    if (Number(votes.dataset.count) !== count) {
      votes.dataset.count = count;
      const sides = Array.from({ length: count }, (_, side) => vote(side + 1, sideWords(side + 1, count), side + 1));
      const bad = count > 2 ? hyText("All bad") : hyText("Both bad");
      const both = [vote("tie", [hyText("Tie")], 0), vote("bad", [bad], "x")];
      const ask = element("p", "hy-label-ask");
      ask.role = "status";
      const back = vote("cancel", [hyText("Back")], "Esc");
      votes.replaceChildren(...(count > 2 ? [ask, ...sides, ...both, back] : [sides[0], ...both, sides[1]]));
      delete votes.dataset.aspect;
    }
    this.showChosen(null);
  }

  // Mark the best of several answers and ask for the worst; null asks for the best.
  showChosen(side) {
    const votes = this.part("votes");
    votes.hidden = false;
    this.part("reason").hidden = true;
    const many = Number(votes.dataset.count) > 2;
    const asked =
      side === null ? hyText("Which is best?") : hyText("{best} is best. Which is worst?", { best: side + 1 });
    if (many) votes.querySelector(".hy-label-ask").textContent = asked;
    for (const button of votes.querySelectorAll("button")) {
      const act = button.dataset.act;
      const mine = side !== null && act === String(side + 1);
      button.toggleAttribute("data-chosen", mine);
      button.disabled = mine;
      if (act === "tie" || act === "bad") button.hidden = many && side !== null;
      if (act === "cancel") button.hidden = side === null;
    }
    [...this.part("answers").children].forEach((answer, at) => answer.toggleAttribute("data-chosen", at === side));
  }

  // Ask which answer is better in an aspect, number `at` of `of`.
  askAspect(name, at, of, count) {
    this.showChosen(null);
    const votes = this.part("votes");
    const which = count > 2 ? hyText("which is best?") : hyText("which is better?");
    const ask = element("p", "hy-label-ask", element("b", "", aspectName(name)), `: ${which}`);
    if (of > 1) ask.append(element("small", "", " ", hyText("{n} of {total}", { n: at, total: of })));
    ask.role = "status";
    const sides = Array.from({ length: count }, (_, side) => vote(side + 1, aspectWords(side + 1), side + 1));
    const neither = [vote("tie", [hyText("Equal")], 0), vote("bad", [hyText("Does not apply")], "x")];
    votes.dataset.count = ""; // the buttons of a vote are made anew
    votes.dataset.aspect = name;
    const within = count > 2 ? [...sides, ...neither] : [sides[0], ...neither, sides[1]];
    votes.replaceChildren(ask, ...within, vote("cancel", [hyText("Back")], "Esc"));
  }

  askReason(words) {
    this.part("votes").hidden = true;
    const form = this.part("reason");
    form.hidden = false;
    form.reset();
    this.part("chosen").textContent = words;
    form.elements.reason.focus();
  }

  get reason() {
    return this.part("reason").elements.reason.value.trim();
  }

  canUndo(can) {
    this.button("undo").disabled = !can;
  }

  // --- sentences ---

  // Say one sentence, for a while.
  say(sentence, kind = "") {
    const said = this.part("said");
    said.textContent = sentence;
    said.dataset.kind = kind;
    clearTimeout(this.silence);
    if (!kind) this.silence = setTimeout(() => (said.textContent = ""), SAID_MS);
  }

  showUnsent(count) {
    this.part("unsent").textContent =
      count === 0 ? "" : hyCount("{n} vote waits for the connection.", "{n} votes wait for the connection.", count);
  }

  // Instead of a comparison.
  showNote(sentence, { waiting = 0, exists = true } = {}) {
    this.slot = null;
    const back = this.part("back");
    back.href = exists ? `campaigns?campaign=${this.campaign}` : "campaigns";
    back.textContent = exists ? hyText("Back to the campaign") : hyText("All campaigns");
    this.part("others").hidden = !exists || Boolean(waiting);
    this.root.dataset.state = waiting ? "waiting" : "empty";
    this.part("note").textContent = sentence;
  }
}

// An aspect's name; a usual one in the page's language.
export function aspectName(name) {
  const usual = { helpful: hyText("helpful"), faithful: hyText("faithful"), harmless: hyText("harmless") };
  return Object.hasOwn(usual, name) ? usual[name] : name;
}

const sideWords = (number, count) =>
  count > 2 ? aspectWords(number) : [hyText("{answer} is better", { answer: number })];

const aspectWords = (number) => [element("span", "hy-wide", hyText("Answer"), " "), String(number)];

function vote(act, words, key) {
  const button = element("button", "hy-label-vote", element("span", "", ...words), element("kbd", "", String(key)));
  button.type = "button";
  button.dataset.act = act;
  button.setAttribute("aria-keyshortcuts", key === "Esc" ? "Escape" : key);
  return button;
}

// A text as it is, or as the HTML that the server made of it.
function fill(part, text, html, raw) {
  part.classList.toggle("hy-raw", raw);
  if (raw) part.textContent = text;
  else part.innerHTML = html;
}

function element(name, css, ...content) {
  const made = document.createElement(name);
  if (css) made.className = css;
  made.append(...content);
  return made;
}
