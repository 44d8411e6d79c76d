"""The child process that renders chat templates: ``python -I template_process.py SYS_PATH MEMORY``.

A template is code from outside. Jinja's sandbox keeps it from files and attributes, but not from looping or
growing without end. So it runs in a process of its own, with bounded memory and an empty environment, which
the parent kills when it takes too long (:mod:`hypo_engine.chat.template`). Requests and answers are lines of
JSON on standard input and output. Nothing of transformers is imported; templates find what
``apply_chat_template`` gives them.
"""

import json
import resource
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

DAY = datetime(2024, 7, 26)
"""What templates take for today, so that the same pairs give the same ids on every day: the day that Llama's
templates write where they are told none."""


def main() -> None:
    """Answer requests ``{template, messages, variables, limit}`` until standard input ends.

    An answer is ``{"text": ...}``, ``{"refused": reason}`` or ``{"unusable": what the template does}``.
    """
    memory = int(sys.argv[2])
    sys.path[:] = json.loads(sys.argv[1])
    import jinja2.sandbox  # noqa: F401  (before memory is bounded)

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line))
        except MemoryError:
            answer = {"unusable": "takes too much memory"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _answer(request: dict[str, Any]) -> dict[str, str]:
    from jinja2 import TemplateError

    try:
        template = _compiled(request["template"])
    except MemoryError:
        raise
    except Exception as error:  # Jinja's, or Python's where it is nested too deeply
        line = (
            f"line {error.lineno}: " if isinstance(error, TemplateError) and hasattr(error, "lineno") else ""
        )
        return {"unusable": f"cannot be read (Jinja, {line}{error})"}
    try:
        text = template.render(
            messages=request["messages"], tools=None, documents=None, **request["variables"]
        )
    except MemoryError:
        raise
    except OverflowError:
        return {"unusable": "requests too much"}
    except RecursionError:
        return {"unusable": "recurses without end"}
    except TemplateError as error:
        return {"refused": str(error) or type(error).__name__}
    except Exception as error:  # a template raises whatever it makes Python raise
        return {"refused": f"{type(error).__name__}: {error}"}
    if len(text) > request["limit"]:
        return {"unusable": f"writes more than {request['limit']:,} characters"}
    if not _is_text(text):
        if not _is_text(json.dumps(request["messages"], ensure_ascii=False)):
            return {"refused": "a turn holds half a character, a lone surrogate"}
        return {"unusable": "writes half a character, a lone surrogate"}
    return {"text": text}


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """``{% generation %}``, which marks what an assistant says; its content is rendered as it stands."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class PlainNamespace(Namespace):
        """A namespace whose attributes may not begin with an underscore."""

        def __init__(*args: Any, **values: Any) -> None:  # so that a value may be called self
            attributes = dict(*args[1:], **values)
            for name in attributes:
                PlainNamespace._check(name)
            Namespace.__init__(args[0], attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            PlainNamespace._check(name)
            Namespace.__setitem__(self, name, value)

        @staticmethod
        def _check(name: Any) -> None:
            if isinstance(name, str) and name.startswith("_"):
                raise TemplateError(f"a namespace cannot hold {name!r}")

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: DAY.strftime(form)
    environment.globals["namespace"] = PlainNamespace
    environment.globals["dict"] = lambda *values, **named: dict(*values, **named)
    return environment.from_string(template)


if __name__ == "__main__":
    main()
