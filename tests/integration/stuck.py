"""A worker whose training or answering gets stuck while it holds the GIL.

A regular expression with catastrophic backtracking runs in C and does not release the GIL. Run it as
`python -m tests.integration.stuck --queues QUEUE`.
"""

import re

from worker import __main__ as worker_main


def stuck(*_: object, **__: object) -> None:
    """Never return, and block all other threads of this process."""
    re.match(r"(a|a)*$", "a" * 64 + "b")


if __name__ == "__main__":
    from worker import answering, engine_job

    engine_job.train = stuck  # type: ignore[assignment]
    answering.SERVING.load = stuck  # type: ignore[assignment, method-assign]
    worker_main.main()
