"""Whether the optional packages that a run needs are here, if this machine's own workers train it."""

from collections.abc import Iterable
from importlib.util import find_spec

from app.errors import InvalidInput
from app.estimates import has_own_workers
from app.settings import get_settings
from hypo_engine.config import TrainConfig
from hypo_engine.errors import needs_bitsandbytes


def refuse_missing_packages(configs: Iterable[TrainConfig]) -> None:
    """Refuse runs that `hypo up` cannot train for want of a package; workers elsewhere refuse by themselves.

    Raises:
        InvalidInput: with the package and how to install it.
    """
    wanted = any(config.load_in_4bit for config in configs)
    if wanted and has_own_workers(get_settings()) and find_spec("bitsandbytes") is None:
        raise InvalidInput(needs_bitsandbytes("load_in_4bit"), field="load_in_4bit")
