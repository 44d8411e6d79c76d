"""Answer: `answer?id=N`, or `answer?id=N&beside=M`. Its script calls the REST API, which guards the names."""

from app.ui.answer.layout import lay_out


def build() -> None:
    """Lay out the page; it has no handlers."""
    lay_out()
