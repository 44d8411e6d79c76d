// Votes, skips and undos on their way. They are kept in the browser until the server has answered, and sent one
// after the other, so that their order is kept. A repeated vote has the same key and counts once.

import { Unreachable, call } from "./rest.js";
import * as memory from "./memory.js";

const LONGEST_PAUSE_SECONDS = 15;

export class Outbox {
  constructor(key, { changed, refused, emptied }) {
    this.key = key;
    this.events = { changed, refused, emptied };
    this.entries = memory.read(key, []);
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
      while (this.size) {
        const entry = this.entries[0];
        const again = entry.sent;
        this.change((entries) => entries.map((one) => (one.key === entry.key ? { ...one, sent: true } : one)));
        const answer = await send(entry);
        this.failures = 0;
        this.change((entries) => entries.filter((one) => one.key !== entry.key));
        if (!answer.ok && !(again && entry.kind !== "vote")) this.events.refused(entry, answer.sentence);
      }
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

  // Another tab may have entries under the same key: only those of this tab are changed.
  change(how) {
    const before = new Set(this.entries.map((entry) => entry.key));
    this.entries = how(this.entries);
    const others = memory.read(this.key, []).filter((entry) => !before.has(entry.key));
    memory.write(this.key, [...others, ...this.entries]);
    this.events.changed();
  }
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
