"""What is left in English on a page that should be Russian."""

import re

from playwright.sync_api import Page

from tests.e2e.conftest import App

TEXTS = """() => {
  const apart = '[translate=no], [lang=en], #hy-compare-examples, ' +
    'code, pre, kbd, svg, script, style, noscript, textarea, input';
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement;
    if (holder.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !holder.closest(apart))
      found.push(node.textContent.trim());
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
    if (!element.closest('[translate=no], [lang=en]') && element.checkVisibility())
      for (const name of ['aria-label', 'title', 'placeholder']) found.push(element.getAttribute(name) || '');
  }
  return [...new Set(found)].filter(Boolean);
}"""
"""What a person reads on a page, apart from code and what people wrote."""

NAMES = re.compile(
    r"HyPO Studio|Hugging Face|length, regex|run:NUMBER|votes, weight, margin|trl, kto|"
    r"Gradio footer navigation|More tabs|Click to upload or drop files|(number input|range slider) for|"
    r"Reset to default value|Unfold line|Reset axes|Share chart|Zoom (in|out)|(DPO|HyPO|dpo|hypo) on \w+"
)
"""Names, and what Gradio and Plotly say in English in every language."""
ENGLISH = re.compile(r"[A-Za-z][a-z]+[,:]? [a-z]{2,}|[A-Z][a-z]{2,} [A-Z]?[a-z]{2,}")
"""Two English words or more."""

WRITTEN = (
    "SELECT name FROM runs UNION SELECT name FROM datasets UNION SELECT name FROM campaigns "
    "UNION SELECT question FROM comparisons UNION SELECT error FROM runs"
)
"""What people wrote, and what a library said of a run that failed: the items of lists to choose from."""


def texts(page: Page) -> list[str]:
    """What a person reads on a page."""
    found: list[str] = page.evaluate(TEXTS)
    return found


def left_over(page: Page, app: App) -> list[str]:
    """Texts of a page in English that nobody wrote, and marks that were not filled in."""
    written = [str(row[0])[:12] for row in app.rows(WRITTEN) if row[0]]  # the page may clip it
    return [
        text
        for text in texts(page)
        if "~t" in text
        or "~h" in text
        or (ENGLISH.search(NAMES.sub("", text)) and not any(start in text for start in written))
    ]
