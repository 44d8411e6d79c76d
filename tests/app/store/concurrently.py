"""Run a function in several threads at once, each with its own connections."""

import threading
from collections.abc import Callable
from typing import Any


def concurrently(function: Callable[[int], Any], *, times: int) -> list[Any]:
    """Call function(0) ... function(times - 1) concurrently.

    Returns:
        The results in the order of their numbers; the first exception is raised here.
    """
    gate = threading.Barrier(times)
    results: list[Any] = [None] * times
    errors: list[BaseException] = []

    def call(number: int) -> None:
        gate.wait()
        try:
            results[number] = function(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
