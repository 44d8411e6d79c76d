"""Everything the app raises on purpose. The message of each error says what to do next.

AppError
├── NotFound       no such dataset, run, comparison or label
├── Refused        the request is understood and cannot be done as things stand
└── InvalidInput   a value from outside is bad; `field` names it
"""


class AppError(Exception):
    """Base of every error the app raises on purpose."""


class NotFound(AppError):
    """There is no such thing."""


class Refused(AppError):
    """The request is understood and cannot be done as things stand."""


class InvalidInput(AppError):
    """A value from outside is bad."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
