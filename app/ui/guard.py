"""Turns every exception of a page's handler into one sentence in the browser.

A browser may send any value for a component, so a handler can fail in ways that its page never causes. The
sentence tells the user what to do; the traceback goes to the log.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import gradio as gr
from gradio.context import LocalContext
from sqlalchemy.exc import DataError, SQLAlchemyError

from app.errors import AppError
from app.i18n import N_, in_language
from app.i18n.language import current, preferred, speaking
from hypo_engine.errors import EngineError

log = logging.getLogger(__name__)

SHOWN_SECONDS: Final = 8
NOT_UNDERSTOOD: Final = N_(
    "The page sent a value that cannot be used; load it again, then repeat what you did."
)
NO_DATABASE: Final = N_("The database does not answer, so nothing was changed; try again in a moment.")
NO_FILES: Final = N_("Files of the app cannot be read or written (the disk may be full); its log says why.")
UNEXPECTED: Final = N_("Something went wrong in the app; its log says what. Nothing that was stored is lost.")

_BAD_VALUES: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, DataError)


def guard(blocks: gr.Blocks) -> None:
    """Guard every handler of the pages built so far."""
    for event in blocks.fns.values():
        if event.fn is not None:
            event.fn = guarded(event.fn)


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler so that it raises only `gr.Error`."""

    @wraps(handler)
    def called(*args: Any, **kwargs: Any) -> Any:
        with speaking(_language()):
            return _answered(handler, args, kwargs)

    return called


def _answered(handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return handler(*args, **kwargs)
    except gr.Error:
        raise
    except (AppError, EngineError) as error:
        raise _shown(str(error)) from error
    except _BAD_VALUES as error:
        log.exception("%s could not use what it was sent", handler.__name__)
        raise _shown(NOT_UNDERSTOOD) from error
    except SQLAlchemyError as error:
        log.error("%s: the database failed: %s", handler.__name__, getattr(error, "orig", None) or error)
        raise _shown(NO_DATABASE) from error
    except OSError as error:
        log.error("%s: a file operation failed: %s", handler.__name__, error)
        raise _shown(NO_FILES) from error
    except Exception as error:
        log.exception("%s failed", handler.__name__)
        raise _shown(UNEXPECTED) from error


def _language() -> str:
    """The language of the event's request; a call outside an event keeps its own."""
    request = getattr(LocalContext.request.get(None), "request", None)  # the one that Gradio wraps
    return preferred(request.headers) if request is not None else current()


def _shown(sentence: str) -> gr.Error:
    return gr.Error(in_language(sentence), duration=SHOWN_SECONDS, print_exception=False)
