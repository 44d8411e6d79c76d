"""The device of this worker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A worker's device: its display name, and whether it is a GPU."""

    name: str
    is_gpu: bool


NETWORK = Device("network", is_gpu=False)
"""The device of a worker that computes nothing itself, and loads no torch."""


def this_device() -> Device:
    """The device of this process, on which torch computes."""
    import torch

    if torch.cuda.is_available():
        return Device(str(torch.cuda.get_device_name(0)), is_gpu=True)
    return Device(f"CPU, {torch.get_num_threads()} threads", is_gpu=False)
