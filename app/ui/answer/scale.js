// The colours of log-ratios, scaled to one answer, and their legend.

import { element, number } from "./dom.js";

const LEAST = 0.1; // nats: smaller differences of a whole answer are not stretched to full colour
const FAINT = 0.03; // shares below this have no colour

export class Scale {
  constructor(tokens) {
    const known = tokens.map(ratio).filter((value) => value !== null);
    this.largest = known.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    this.limit = Math.max(this.largest, LEAST);
  }

  // Colour a token by its log-ratio; underlines differ, so that colour is not the only cue.
  paint(span, value) {
    if (value === null) return;
    const share = Math.min(1, Math.abs(value) / this.limit);
    if (share < FAINT) return;
    span.classList.add(value > 0 ? "hy-more" : "hy-less");
    span.style.setProperty("--share", `${Math.round(100 * share)}%`);
  }

  legend() {
    const list = element("ol", "hy-tokens-legend");
    for (const share of [-1, -0.5, 0, 0.5, 1]) {
      const swatch = element("span", "hy-token", number(share * this.limit, 2, { sign: true }));
      this.paint(swatch, share * this.limit);
      list.append(element("li", "", swatch));
    }
    const words = hyText("log π/π_ref in nats: dotted is less likely, solid is likelier than under the reference");
    return element("div", "hy-tokens-key", element("p", "hy-note", words), list);
  }
}

// The log-ratio of a token; null if it is not known.
export function ratio({ policy, reference }) {
  return policy === null || reference === null ? null : policy - reference;
}
