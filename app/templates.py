"""HTML from Jinja2 templates.

Values are escaped unless they are `Markup`. An undefined name is an error. Line breaks between tags and the
white space around them are stripped.
"""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

from app.i18n import _, _html, _n

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
_environment.globals.update({"_": _, "_n": _n, "_html": _html})


def render(template: str, /, **values: Any) -> Markup:
    """Render a template with these values.

    Args:
        template: its path below `app/ui/templates`, or below `app`.

    Raises:
        jinja2.UndefinedError: the template uses an undefined name.
    """
    return Markup(_environment.get_template(template).render(values))
