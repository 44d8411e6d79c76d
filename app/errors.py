"""The errors the app raises on purpose. Each message states what to do next.

AppError
├── NotFound       no such dataset, run, comparison or label
├── Refused        the request is valid but impossible in the present state
└── InvalidInput   an external value is invalid; `field` names it
"""


class AppError(Exception):
    """Base of every error the app raises on purpose."""


class NotFound(AppError):
    """The requested object does not exist."""


class Refused(AppError):
    """The request is valid but impossible in the present state."""


class InvalidInput(AppError):
    """An external value is invalid."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
