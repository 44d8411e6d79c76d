"""Memory that is used again, and what the pool may hold."""

import gc
import threading

import torch

from hypo_engine import pool
from hypo_engine.pool import Pool

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
    """A view and a graph are enough: no block is given out twice."""
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
    )  # no two neighbours at one place of a page


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
