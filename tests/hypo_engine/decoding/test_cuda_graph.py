"""The steps that a GPU records, run eagerly on a CPU and compared with decoding through the modules."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hypo_engine.decoding.cuda_graph import RecordedDecoding, RecordedStep
from hypo_engine.decoding.modules import PrefixDecoding
from hypo_engine.decoding.sampling import Choice, sample_responses
from hypo_engine.models.load import load_model
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.shared import SharedPrefix
from tests.tiny_model import ARCHITECTURES, MORE_ARCHITECTURES

CPU = torch.device("cpu")
PROMPTS = [[5, 90, 33, 7, 200, 41, 18], [60], list(range(100, 123))]


def prefix(folder: Path, device: torch.device = CPU) -> SharedPrefix:
    view = try_packing(load_model(str(folder), dtype=torch.float32, device=device))
    assert view is not None
    view.step = RecordedStep(view)
    return SharedPrefix(view, PROMPTS)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *MORE_ARCHITECTURES])
def test_static_steps_are_the_modules_steps(tiny: Callable[[str], Path], architecture: str) -> None:
    with torch.no_grad():
        encoded = prefix(tiny(architecture))
        rows = [0, 2, 1, 2]
        found = encoded.decoding(rows, 24)
        assert isinstance(found, RecordedDecoding)
        expected = encoded._through_modules(rows, 24, found.logits)
        for tokens in torch.randint(3, 300, (24, 4), generator=torch.Generator().manual_seed(1)):
            found.feed(tokens)
            expected.feed(tokens)
            torch.testing.assert_close(found.logits, expected.logits, atol=2e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="kernels are recorded on a GPU only")
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_a_step_is_recorded_on_a_gpu(tiny: Callable[[str], Path], architecture: str) -> None:
    device = torch.device("cuda")
    with torch.no_grad():
        encoded = prefix(tiny(architecture), device)
        found = encoded.decoding([0, 2, 1, 2], 24)
        assert isinstance(found, RecordedDecoding)
        assert found._graph is not None
        expected = encoded._through_modules([0, 2, 1, 2], 24, found.logits)
        for tokens in torch.randint(3, 300, (24, 4)).to(device):
            found.feed(tokens)
            expected.feed(tokens)
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-3, rtol=1e-3)


def test_rows_that_have_ended_stay(tiny: Callable[[str], Path]) -> None:
    with torch.no_grad():
        encoded = prefix(tiny("llama"))

        def sampled(limits: list[int]) -> list[list[int]]:
            responses = sample_responses(
                encoded.decoding([0, 1, 2], max(limits)),
                seeds=[1, 2, 3],
                choice=Choice.same(3, CPU),
                max_new_tokens=limits,
                stop_ids=frozenset(),
            )
            return [response.ids for response in responses]

        assert not encoded.decoding([0, 1], 2).keep(torch.tensor([1]))
        whole, short = sampled([9, 9, 9]), sampled([3, 9, 1])
    assert [len(ids) for ids in short] == [3, 9, 1]
    assert [ids[: len(other)] for ids, other in zip(whole, short, strict=True)] == short


def test_adapters_by_row_are_not_recorded(tiny: Callable[[str], Path]) -> None:
    encoded = prefix(tiny("llama"))
    routed = SharedPrefix(encoded._packed, PROMPTS, route=lambda rows: None)
    assert isinstance(routed.decoding([0], 2), PrefixDecoding)


def test_a_model_whose_static_steps_differ_goes_through_its_modules(tiny: Callable[[str], Path]) -> None:
    encoded = prefix(tiny("llama"))
    other = prefix(tiny("llama"))._packed
    with torch.no_grad():
        other.model.model.layers[0].mlp.down_proj.weight.mul_(2)
        other.step = RecordedStep(encoded._packed)  # of the unchanged model
        assert isinstance(SharedPrefix(other, PROMPTS).decoding([0], 2), PrefixDecoding)
    assert other.step is None
