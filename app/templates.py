"""HTML from Jinja2 templates.

Values are escaped unless they are `Markup`, and a name without a value is an error. A line break between two
tags, with the spaces around it, lays out the template and is no part of the page.
"""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

_APP = Path(__file__).parent
_BETWEEN_TAGS = re.compile(r"(?<=[>}])\s*\n\s*(?=[<{])")


class _DropLayout(Extension):
    """Removes line breaks between tags from the source of a template."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return _BETWEEN_TAGS.sub("", source)


_environment = Environment(
    loader=FileSystemLoader([_APP / "ui" / "templates", _APP]),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    extensions=[_DropLayout],
)


def render(template: str, /, **values: Any) -> Markup:
    """A template filled with values.

    Args:
        template: its path below `app/ui/templates`, or below `app`.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    return Markup(_environment.get_template(template).render(values))
