"""The learning rate as a pure function of the step, so a resumed run needs no scheduler state."""

import math

from hypo_engine.config import Scheduler, TrainConfig


def learning_rate_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """The learning rate of a step (0-based).

    It rises linearly over the first ``warmup_ratio`` of the steps and reaches its peak at the last of
    them. Then it decays linearly or as a cosine towards zero, or stays constant.
    """
    warmup = math.ceil(config.warmup_ratio * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    shape = {
        Scheduler.CONSTANT: 1.0,
        Scheduler.LINEAR: 1.0 - progress,
        Scheduler.COSINE: 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
    return config.learning_rate * shape[config.lr_scheduler_type]
