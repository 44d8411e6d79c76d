// Two times: how long a person looked at a comparison, and how long they waited for it.

// Seconds since the start, without those in which the page was hidden.
export class Stopwatch {
  constructor() {
    this.start();
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.before += performance.now() - this.since;
      this.since = performance.now();
    });
  }

  start() {
    this.before = 0;
    this.since = performance.now();
  }

  get seconds() {
    const now = document.hidden ? 0 : performance.now() - this.since;
    return Math.round(this.before + now) / 1000;
  }
}

// Milliseconds from a key or tap until what it led to is on the screen.
export class Timings {
  constructor() {
    this.all = [];
  }

  untilPainted(pressed) {
    requestAnimationFrame(() => {
      const painted = new MessageChannel(); // its message comes after the frame is drawn
      painted.port1.onmessage = () => this.all.push(performance.now() - pressed);
      painted.port2.postMessage(null);
    });
  }
}
