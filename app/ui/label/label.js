// The Label page. It holds a few comparisons ahead, shows the next one at a key, and sends votes in the
// background. The server names no model, and neither does this page.

import { Outbox } from "./outbox.js";
import { Stopwatch, Timings } from "./times.js";
import { Screen, aspectName } from "./screen.js";
import { Unreachable, call } from "./rest.js";
import { listen } from "./keys.js";
import * as memory from "./memory.js";

const HELD = 4; // comparisons held, with the one on the screen
const MOST_HELD = 10;
const RENEW_SECONDS = 100; // a lease is five minutes long
const IDLE_SECONDS = 120; // without a key or a touch, the lease is not renewed
const SLIP_MS = 250; // a key so soon after a comparison appeared was meant for the one before
const POLL_SECONDS = { waiting: 3, open: 15, paused: 15 };

export function start(root) {
  const named = new URLSearchParams(location.search).get("campaign") ?? "";
  const campaign = /^\d{1,10}$/.test(named) ? Number(named) : 0;
  if (campaign < 1 || campaign > 2 ** 31 - 1) root.remove(); // the server says that there is none
  else {
    window.hyLabel = new Label(root, campaign); // for measurements
    window.hyLabel.open();
  }
}

class Label {
  constructor(root, campaign) {
    this.number = campaign;
    this.campaign = null;
    this.current = null;
    this.ahead = []; // comparisons after the current one
    this.past = []; // those judged in this visit, for undo
    this.done = new Set(); // their slots: a late response may still list them
    this.mine = { voted: 0, skipped: 0, left: 0 };
    this.chosen = null; // a vote that still lacks its worst answer or its reason
    this.pressed = null; // when the key went down whose next comparison is not there yet
    this.active = performance.now();
    this.watch = new Stopwatch();
    this.times = new Timings();
    this.screen = new Screen(root, campaign);
    this.outbox = new Outbox(memory.key("unsent", campaign), {
      changed: () => this.screen.showUnsent(this.outbox.waiting),
      refused: ({ kind }, sentence) =>
        this.screen.say(
          kind === "undo"
            ? hyText("Not taken back: {reason}", { reason: sentence })
            : hyText("Not counted: {reason}", { reason: sentence }),
          "warning",
        ),
      emptied: () => this.refill(),
    });
  }

  // Milliseconds from each key to the next comparison on the screen.
  get timings() {
    return this.times.all;
  }

  open() {
    listen(this.screen.root, (name, event) => this.act(name, event));
    for (const name of ["pointerdown", "keydown", "wheel", "touchmove"])
      addEventListener(name, () => (this.active = performance.now()), { passive: true });
    addEventListener("online", () => this.refill());
    document.addEventListener("visibilitychange", () => document.hidden || this.refill());
    setInterval(() => this.renew(), RENEW_SECONDS * 1000);
    this.outbox.flush();
    this.refill();
  }

  // --- comparisons ---

  // Ask for as many comparisons as are missing. One request at a time; another one follows if needed.
  async refill() {
    if (this.asking) {
      this.askAgain = true;
      return;
    }
    this.asking = true;
    clearTimeout(this.later);
    const wanted = Math.min(MOST_HELD, HELD + this.outbox.size);
    try {
      const answer = await call("POST", `campaigns/${this.number}/slots?count=${wanted}`);
      if (answer.ok) this.take(answer.data);
      else this.shut(answer);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      if (!this.current) this.screen.showNote(hyText("The app does not answer; the next comparison comes when it does."));
      this.later = setTimeout(() => this.refill(), 3000);
    } finally {
      this.asking = false;
    }
    if (this.askAgain) {
      this.askAgain = false;
      this.refill();
    }
  }

  take(taken) {
    this.campaign = taken.campaign;
    this.screen.showCampaign(taken.campaign);
    const listed = new Set(taken.slots.map((slot) => slot.id));
    const isMine = (slot) => listed.has(slot.id) || this.outbox.has(slot.id);
    this.ahead = this.ahead.filter(isMine);
    if (this.current && !isMine(this.current) && taken.status === "open" && !this.chosen) this.lose();
    const known = new Set([...this.ahead.map((slot) => slot.id), this.current?.id]);
    const fresh = taken.slots.filter((slot) => !known.has(slot.id) && !this.isJudged(slot.id));
    this.ahead.push(...fresh);
    this.mine = this.outbox.entries.reduce(counted, taken.mine);
    this.screen.showProgress(this.mine);
    if (!this.current && this.ahead.length) this.next();
    if (!this.current) this.rest(taken);
  }

  // The lease of the current comparison ran out, and others have judged it.
  lose() {
    this.current = null;
    this.screen.say(hyText("The comparison before went to somebody else meanwhile."), "warning");
  }

  isJudged(slot) {
    return this.done.has(slot) || this.outbox.judges(slot);
  }

  // Say why there is nothing to judge, and look again later.
  rest(taken) {
    const held = taken.slots.length > 0; // all of them judged, and the votes on their way
    this.screen.showNote(held ? hyText("Your votes are on their way.") : taken.note, { waiting: taken.waiting });
    this.pressed = null;
    const pace = taken.status === "open" && taken.waiting ? "waiting" : taken.status;
    const seconds = held ? 1 : POLL_SECONDS[pace];
    if (seconds) this.later = setTimeout(() => document.hidden || this.refill(), seconds * 1000);
  }

  // The campaign is not there, or not for this person.
  shut({ status, sentence }) {
    if (this.current) this.screen.say(sentence, "warning");
    else this.screen.showNote(sentence, { exists: status !== 404 });
  }

  renew() {
    if (!document.hidden && performance.now() - this.active < IDLE_SECONDS * 1000) this.refill();
  }

  next() {
    this.show(this.ahead.shift() ?? null);
    if (!this.current) this.screen.showNote(hyText("The next comparison is on its way."));
  }

  show(slot) {
    this.current = slot;
    this.chosen = null;
    if (!slot) return;
    this.screen.show(slot, this.campaign);
    this.watch.start();
    this.shownAt = performance.now();
    if (this.pressed !== null) this.times.untilPainted(this.pressed);
    this.pressed = null;
  }

  // --- what a person does ---

  act(name, event) {
    const judges = /^([1-4]|tie|bad|skip)$/.test(name);
    if (judges && event.timeStamp - this.shownAt < SLIP_MS) return;
    if (judges && this.aspect !== undefined) this.answer(name, event);
    else if (/^[1-4]$/.test(name)) this.choose(Number(name) - 1, event);
    else if (name === "tie" || name === "bad") this.judge(name === "tie" ? "tie" : "both bad", "", event);
    else if (["skip", "undo", "cancel", "send"].includes(name)) this[name](event);
    else this.screen.act(name);
  }

  choose(side, event) {
    const { current, chosen } = this;
    if (!current || side >= current.answers.length || chosen?.complete) return;
    const letter = current.answers[side].letter;
    if (current.answers.length === 2) this.judge(letter, "", event);
    else if (!chosen) {
      this.chosen = { choice: letter };
      this.screen.showChosen(side);
      this.screen.canUndo(true);
    } else if (chosen.choice !== letter) this.judge(chosen.choice, letter, event);
  }

  // A vote is complete, but for its aspects and its reason.
  judge(choice, worst, event) {
    if (!this.current || this.chosen?.complete) return;
    const asked = this.campaign.aspects; // those of now, even if the campaign changes meanwhile
    this.chosen = { choice, worst, seconds: this.watch.seconds, complete: true, asked, aspects: [] };
    this.goOn(event);
  }

  // The aspect that is asked now.
  get aspect() {
    return this.chosen?.complete ? this.chosen.asked[this.chosen.aspects.length] : undefined;
  }

  answer(name, event) {
    const side = this.current.answers[Number(name) - 1];
    const word = side?.letter ?? { tie: "tie", bad: "not applicable" }[name];
    if (!word) return;
    this.chosen.aspects.push([this.aspect, word]);
    this.goOn(event);
  }

  // Ask for the next aspect, then for the reason; then vote.
  goOn(event) {
    const { asked, aspects } = this.chosen;
    if (this.aspect !== undefined) {
      this.screen.askAspect(this.aspect, aspects.length + 1, asked.length, this.current.answers.length);
      this.shownAt = performance.now();
    } else if (this.campaign.ask_reason) this.screen.askReason(said(this.current, this.chosen));
    else return this.vote("", event);
    this.screen.canUndo(true);
  }

  send(event) {
    if (this.chosen?.complete) this.vote(this.screen.reason, event);
  }

  cancel(event) {
    if (this.chosen?.complete && this.aspect === undefined) this.vote("", event);
    else if (this.chosen) this.undo(event);
  }

  vote(reason, event) {
    const { choice, worst, seconds } = this.chosen;
    const aspects = Object.fromEntries(this.chosen.aspects);
    const words = said(this.current, this.chosen);
    this.leave({ kind: "vote", slot: this.current.id, body: { choice, worst, aspects, reason, seconds } }, words, event);
  }

  skip(event) {
    if (this.current && !this.chosen?.complete)
      this.leave({ kind: "skip", slot: this.current.id }, hyText("Skipped."), event);
  }

  // Put a vote or a skip on its way, and go on.
  leave(entry, words, event) {
    this.pressed = event.timeStamp;
    this.past.push({ slot: this.current, words, kind: entry.kind });
    this.done.add(this.current.id);
    this.mine = counted(this.mine, entry);
    this.next();
    this.screen.say(words);
    this.screen.showProgress(this.mine);
    this.screen.canUndo(true);
    this.outbox.add(entry);
    if (!this.current) this.refill();
  }

  // Take back the last aspect, or a choice that was not sent, else the last vote or skip.
  undo(event) {
    if (this.chosen?.aspects?.length) {
      this.chosen.aspects.pop();
      this.goOn(event);
      return;
    }
    if (this.chosen) {
      this.chosen = null;
      this.screen.showVotes(this.current.answers.length);
      this.screen.canUndo(this.past.length > 0);
      return;
    }
    const last = this.past.pop();
    if (!last) return;
    this.pressed = event.timeStamp;
    if (!this.outbox.drop(last.slot.id)) this.outbox.add({ kind: "undo", slot: last.slot.id, of: last.kind });
    this.done.delete(last.slot.id);
    if (this.current) this.ahead.unshift(this.current);
    this.mine = counted(this.mine, { kind: "undo", of: last.kind });
    this.show(last.slot);
    this.screen.say(hyText("Taken back: {what}", { what: last.words }));
    this.screen.showProgress(this.mine);
    this.screen.canUndo(this.past.length > 0);
  }
}

// A vote in words, with its aspects.
function said(slot, { choice, worst, aspects = [] }) {
  const name = (letter) => 1 + slot.answers.findIndex((answer) => answer.letter === letter);
  const words = { tie: hyText("equal"), "not applicable": hyText("does not apply") };
  const of = ([aspect, word]) => `${aspectName(aspect)}: ${words[word] ?? name(word)}`;
  const rest = aspects.length ? ` ${aspects.map(of).join(", ")}.` : "";
  if (choice === "tie") return hyText("A tie.") + rest;
  if (choice === "both bad") return (slot.answers.length > 2 ? hyText("All bad.") : hyText("Both bad.")) + rest;
  if (!worst) return hyText("{answer} is better.", { answer: name(choice) }) + rest;
  return hyText("{best} is best, {worst} is worst.", { best: name(choice), worst: name(worst) }) + rest;
}

// A person's numbers after a vote, a skip, or the undo of one.
function counted(mine, { kind, of }) {
  const [what, step] = kind === "undo" ? [of, -1] : [kind, 1];
  const field = what === "vote" ? "voted" : "skipped";
  return { ...mine, [field]: mine[field] + step, left: Math.max(0, mine.left - step) };
}
