"""A worker whose training, or answering, gets stuck where no thread of its own can help.

A regular expression that backtracks without end runs in C and keeps Python's lock. Run it as
`python -m tests.integration.stuck --queues QUEUE`.
"""

import re

from worker import __main__ as worker_main


def stuck(*_: object, **__: object) -> None:
    """Never return, and let no other thread of this process run."""
    re.match(r"(a|a)*$", "a" * 64 + "b")


if __name__ == "__main__":
    from worker import answering, training

    training.train = stuck  # type: ignore[assignment]
    answering._serving.load = stuck  # type: ignore[assignment, method-assign]
    worker_main.main()
