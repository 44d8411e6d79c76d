"""The child process that renders chat templates: ``python -I template_process.py SYS_PATH MEMORY``.

A template is untrusted code. Jinja's sandbox denies access to files and attributes, but does not stop a
template that loops or grows without end. It therefore runs in its own process, with bounded memory and an
empty environment, and the parent kills that process on timeout (:mod:`hypo_engine.chat.template`). Requests
and answers are lines of JSON on standard input and output. transformers is not imported; templates see the
same names as in ``apply_chat_template``.
"""

import json
import resource
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

DAY = datetime(2024, 7, 26)
"""The date that templates see, fixed so that the same pairs give the same ids on any day. It is the default
date of Llama's templates.
"""


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
    except Exception as error:  # Jinja's error, or Python's if the template is nested too deeply
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
    except Exception as error:  # a template can make Python raise anything
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
        """``{% generation %}``, which marks an assistant's text; its content is rendered unchanged."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class PlainNamespace(Namespace):
        """A namespace whose attributes may not begin with an underscore."""

        def __init__(*args: Any, **values: Any) -> None:  # so that a key may be called self
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
