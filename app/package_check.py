"""Whether the optional packages that a run needs are here, if this machine's own workers train it."""

from collections.abc import Iterable
from importlib.util import find_spec

from app.errors import InvalidInput
from app.estimates import has_own_workers
from app.settings import get_settings
from hypo_engine.config import TrainConfig
from hypo_engine.errors import needs_bitsandbytes, needs_vllm


def refuse_missing_packages(configs: Iterable[TrainConfig]) -> None:
    """Refuse runs that `hypo up` cannot train for want of a package; workers elsewhere refuse by themselves.

    Raises:
        InvalidInput: with the package and how to install it.
    """
    if not has_own_workers(get_settings()):
        return
    for config in configs:
        wanted = {
            "load_in_4bit": (config.load_in_4bit, "bitsandbytes", needs_bitsandbytes("load_in_4bit")),
            "rollout": (config.samples_with_vllm, "vllm", needs_vllm()),
        }
        for field, (is_wanted, package, sentence) in wanted.items():
            if is_wanted and find_spec(package) is None:
                raise InvalidInput(sentence, field=field)
