// Votes, skips and undos on their way. They are kept in the browser until the server has answered, and sent one
// after the other, so that their order is kept. A repeated vote has the same key and counts once.

import { Unreachable, call } from "./rest.js";
import * as memory from "./memory.js";

const LONGEST_PAUSE_SECONDS = 15;

export class Outbox {
  constructor(key, { changed, refused, emptied }) {
    this.key = key;
    this.events = { changed, refused, emptied };
    this.entries = stored(key);
    this.kept = true; // whether the browser's storage has the entries
    this.failures = 0;
    addEventListener("online", () => this.flush());
    document.addEventListener("visibilitychange", () => document.hidden || this.flush());
  }

  get size() {
    return this.entries.length;
  }

  // Entries that wait because the server could not be reached.
  get waiting() {
    return this.failures ? this.size : 0;
  }

  has(slot) {
    return this.entries.some((entry) => entry.slot === slot);
  }

  // Whether the last entry of a slot judges it.
  judges(slot) {
    const last = this.entries.findLast((entry) => entry.slot === slot);
    return last !== undefined && last.kind !== "undo";
  }

  add(entry) {
    this.change((entries) => [...entries, { ...entry, key: randomKey() }]);
    this.flush();
  }

  // Remove the last entry of a slot if it was never sent; whether it could be.
  drop(slot) {
    const last = this.entries.findLast((entry) => entry.slot === slot);
    if (!last || last.kind === "undo" || last.sent) return false;
    this.change((entries) => entries.filter((entry) => entry.key !== last.key));
    return true;
  }

  async flush() {
    if (this.sending) return;
    clearTimeout(this.later);
    this.sending = true;
    const any = this.size > 0;
    try {
      if (any) await alone(this.key, () => this.sendAll());
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      this.failures += 1;
      const pause = Math.min(LONGEST_PAUSE_SECONDS, 2 ** (this.failures - 1));
      this.later = setTimeout(() => this.flush(), pause * 1000);
      this.events.changed();
      return;
    } finally {
      this.sending = false;
    }
    if (any) this.events.emptied();
  }

  async sendAll() {
    this.change((entries) => entries);
    while (this.size) {
      const entry = this.entries[0];
      this.change((entries) => entries.map((one) => (one.key === entry.key ? { ...one, sent: true } : one)));
      const answer = await send(entry);
      this.failures = 0;
      this.change((entries) => entries.filter((one) => one.key !== entry.key));
      // A skip or an undo that was sent before may be refused because it has been done.
      if (!answer.ok && (entry.kind === "vote" || !entry.sent)) this.events.refused(entry, answer.sentence);
    }
  }

  // Another tab may have found the same entries in storage and sent them, or have others there.
  change(how) {
    const found = stored(this.key);
    const keys = (entries) => new Set(entries.map((entry) => entry.key));
    const [mine, left] = [keys(this.entries), keys(found)];
    this.entries = how(this.kept ? this.entries.filter((entry) => left.has(entry.key)) : this.entries);
    this.kept = memory.write(this.key, [...found.filter((entry) => !mine.has(entry.key)), ...this.entries]);
    this.events.changed();
  }
}

function stored(key) {
  const found = memory.read(key, []);
  return Array.isArray(found) ? found : [];
}

// One tab at a time, where the browser can tell.
function alone(name, act) {
  return navigator.locks ? navigator.locks.request(name, act) : act();
}

async function send({ kind, slot, body, key }) {
  if (kind === "skip") return call("POST", `slots/${slot}/skip`);
  if (kind === "undo") return call("DELETE", `slots/${slot}/vote`);
  const answer = await call("PUT", `slots/${slot}/vote`, { body, key });
  // An earlier attempt with the same key is still being carried out: its answer is wanted, not a refusal.
  if (answer.status === 409 && answer.sentence.includes("Idempotency-Key")) throw new Unreachable(answer.sentence);
  return answer;
}

// crypto.randomUUID is missing on pages without TLS.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
