"""Reuse of memory, and the pool's limits."""

import gc
import mmap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hypo_engine.config import Method, TrainConfig
from hypo_engine.cpu import pool
from hypo_engine.cpu.pool import Pool
from hypo_engine.data.formats import Pair
from hypo_engine.distributed.out_of_memory import is_out_of_memory
from hypo_engine.training.loop import train

MIB = 2**18  # floats


def test_a_tensor_that_is_gone_makes_place_for_the_next_of_its_size() -> None:
    own = Pool()
    first = own.empty(3, MIB)
    assert first.shape == (3, MIB)
    assert first.dtype == torch.float32
    assert first.is_contiguous()
    held = own.held
    assert own.idle_bytes() == 0
    del first
    assert own.idle_bytes() == held
    second = own.empty(MIB, 3)
    assert own.held == held
    assert own.idle_bytes() == 0
    third = own.empty(MIB, 3)
    assert own.held == 2 * held
    assert not {second.data_ptr()} & {third.data_ptr()}


def test_what_holds_on_to_the_memory_keeps_it() -> None:
    """A view or a graph keeps its block: no block is handed out twice."""
    own = Pool()
    x = own.empty(MIB).fill_(1).requires_grad_()
    view, squared = x.detach()[5:], (x * x).sum()
    del x
    gc.collect()
    others = [own.empty(MIB).fill_(7) for _ in range(3)]
    assert float(view.sum()) == MIB - 5
    squared.backward()
    assert len({other.data_ptr() for other in others}) == 3
    assert own.idle_bytes() == 0


def test_idle_blocks_make_room_for_other_sizes() -> None:
    own = Pool()
    for millions in range(1, 40):
        own.empty(millions * MIB)
    largest = 39 * MIB * 4
    assert own.held <= 1.2 * largest
    assert own.idle_bytes() == own.held


def test_a_step_of_several_sizes_asks_for_nothing_the_second_time() -> None:
    own = Pool()

    def step() -> None:
        kept = [own.empty(2, MIB) for _ in range(8)]
        for tensor in kept:
            own.empty(3, MIB).fill_(1)
            tensor.fill_(2)

    step()
    held = own.held
    asked: list[int] = []
    new = own._new
    own._new = lambda size: asked.append(size) or new(size)  # type: ignore[method-assign, func-returns-value]
    step()
    assert not asked
    assert own.held == held


def test_a_full_memory_raises_what_torch_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Pool()
    own.empty(MIB)
    held = own.held
    assert held > 0

    def full(*_: int) -> mmap.mmap:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", full)
    tensor = own.empty(MIB)  # an idle block is reused
    assert own.held == held
    assert own.empty(2, MIB).shape == (2, MIB)  # falls back to torch's allocator
    del tensor
    assert own.idle_bytes() == own.held
    with pytest.raises(RuntimeError, match="memory") as caught:
        own.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert own.held == 0


def test_what_was_released_is_gone_and_what_is_in_use_stays() -> None:
    own = Pool()
    tensor = own.empty(MIB).fill_(3)
    own.empty(2, MIB)
    own.release()
    assert own.idle_bytes() == 0
    assert float(tensor.sum()) == 3 * MIB
    del tensor
    assert own.idle_bytes() == own.held > 0
    own.release()
    assert own.held == 0


def test_a_run_that_is_over_leaves_nothing_in_the_pool(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    config = TrainConfig(
        model_name_or_path=str(tiny("llama")),
        method=Method.DPO,
        max_steps=1,
        per_device_train_batch_size=8,
        lora_r=4,
        max_prompt_length=1000,
        max_completion_length=1000,
    )
    pairs = [Pair("ask " * 300, f"yes {i} " * 50, "no " * 100) for i in range(8)]
    asked: list[int] = []
    new = Pool._new
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Pool, "_new", lambda self, size: asked.append(size) or new(self, size))
        train(config, pairs, output_dir=tmp_path / "run", models_dir=tmp_path)
    assert asked
    assert pool.POOL.idle_bytes() == 0


def test_small_ones_are_torchs() -> None:
    own = Pool()
    tensor = own.empty(7, 9)
    assert tensor.shape == (7, 9)
    assert own.held == 0
    assert own.empty(0, 5).numel() == 0


def test_a_line_of_the_cache_begins_with_the_tensor() -> None:
    own = Pool()
    kept = [own.empty(MIB) for _ in range(70)]
    assert all(tensor.data_ptr() % 64 == 0 for tensor in kept)
    assert (
        len({tensor.data_ptr() % 4096 for tensor in kept}) == 64
    )  # offsets within a page differ between neighbours


def test_few_sizes_come_up() -> None:
    sizes = {pool._rounded(count) for count in range(2**20, 2**21, 997)}
    assert len(sizes) <= 9
    assert all(pool._rounded(count) >= count for count in range(2**20, 2**21, 997))
    assert pool._rounded(2**20 + 1) <= 1.13 * 2**20


def test_threads_never_share_a_block() -> None:
    own, wrong = Pool(), list[int]()

    def work(mark: int) -> None:
        for _ in range(200):
            tensor = own.empty(MIB // 2).fill_(mark)
            if not bool((tensor == mark).all()):
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
