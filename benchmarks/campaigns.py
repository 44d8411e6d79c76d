"""``python -m benchmarks.campaigns``: what it costs to answer a campaign, in batches and one by one.

Batches of comparisons and single comparisons alternate in one process, so that drift of the machine's speed
affects both. Every answer has the same number of tokens, because no token ends it.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypo_engine.generate import GenerationRequest, Served

CONTENDERS = (1, 3, 6)
"""Contenders of a single question: the base model, and adapters."""

_DEMO = "smollm2-135m-instruct"
_TOPICS = ("rivers", "bridges", "old maps", "the winter", "bees", "a good loaf of bread", "paper", "tides")


def main(arguments: list[str]) -> int:
    """Measure, print the tables and return the exit status."""
    options = _parse(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as a worker does, before torch is imported
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        served, loaded, resident = _serve(options.model, Path(folder))
        _print_batches(served, options)
        _print_contenders(served, options)
    from benchmarks.meter import peak_bytes

    base = sum(p.numel() * p.element_size() for n, p in served.base.named_parameters() if "lora_" not in n)
    print(
        f"\nThe base model has {base / 1e9:.2f} GB. The process held {loaded / 1e9:.2f} GB with it, "
        f"{resident / 1e9:.2f} GB with {max(CONTENDERS) - 1} adapters too, and at most "
        f"{peak_bytes() / 1e9:.2f} GB."
    )
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaigns", description=__doc__)
    models = Path(os.environ.get("HYPO_HOME") or ".hypo") / "models"
    parser.add_argument("--model", type=Path, default=models / _DEMO, help="folder of the base model")
    parser.add_argument("--prompts", type=int, default=100, help="prompts of the campaign")
    parser.add_argument("--contenders", type=int, default=3, help="contenders of the campaign, at most 6")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--rows", type=int, nargs="+", default=[48], help="answers of a batch")
    parser.add_argument("--singles", type=int, default=3, help="single comparisons after each batch")
    parser.add_argument("--rounds", type=int, default=5, help="times that each number of contenders answers")
    parser.add_argument("--quick", action="store_true", help="few and short: tries the benchmark only")
    options = parser.parse_args(arguments)
    if options.quick:
        options.prompts, options.tokens, options.rows, options.rounds = 6, 4, [9], 1
    return options


def _serve(model: Path, folder: Path) -> "tuple[Served, int, int]":
    """The model with adapters of small random numbers, and the resident bytes without and with them."""
    from benchmarks.meter import resident_bytes
    from benchmarks.ours import LORA_ALPHA, LORA_RANK
    from hypo_engine.generate import load_served
    from hypo_engine.models.adapters import attach_lora, quiet_peft
    from hypo_engine.models.load import load_model

    served = load_served(str(model), model.parent)
    served.stop_ids = frozenset()
    served.answer(_requests(1, 1, tokens=2))
    loaded = resident_bytes()
    with quiet_peft():
        bare = load_model(str(model), dtype=served.base.dtype, device=served.base.device)
        adapted = attach_lora(
            bare,
            rank=LORA_RANK,
            alpha=LORA_ALPHA,
            target_modules="all-linear",
            seed=0,
            base_name=model.name,
        )
        for number in range(1, max(CONTENDERS)):
            _randomize(adapted, seed=number)
            adapted.save_pretrained(folder / str(number), save_embedding_layers=False)
            served.add_adapter(str(number), folder / str(number))
    del bare, adapted
    served.answer(_requests(1, max(CONTENDERS), tokens=2))
    return served, loaded, resident_bytes()


def _randomize(model: object, *, seed: int) -> None:
    import torch

    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):  # type: ignore[attr-defined]
            if "lora_" in name:
                weight.copy_(0.01 * torch.randn(weight.shape, generator=source))


def _requests(prompts: int, contenders: int, *, tokens: int) -> "list[GenerationRequest]":
    """Questions to the base model and to adapters, a comparison after the other."""
    from hypo_engine.generate import GenerationRequest

    names = [None, *(str(number) for number in range(1, contenders))]
    asked = [
        f"In {number + 2} sentences, what should one know about {_TOPICS[number % len(_TOPICS)]}, and why?"
        for number in range(prompts)
    ]
    return [
        GenerationRequest([{"role": "user", "content": text}], name, tokens, 0.7, 1.0, 7)
        for text in asked
        for name in names
    ]


def _rate(served: "Served", requests: "list[GenerationRequest]") -> tuple[float, int]:
    """Seconds and tokens of one call."""
    from benchmarks.meter import now

    started = now()
    answers = served.answer(requests)
    return now() - started, sum(answer.tokens for answer in answers)


def _print_batches(served: "Served", options: argparse.Namespace) -> None:
    contenders = options.contenders
    asked = _requests(options.prompts, contenders, tokens=options.tokens)
    print(f"{options.prompts} prompts, {contenders} contenders, {options.tokens} tokens an answer:\n")
    print("| answers at a time | batches | tokens/s | one comparison after the other | ratio | s a batch |")
    print("| --: | --: | --: | --: | --: | --: |")
    for rows in options.rows:
        size = max(1, rows // contenders) * contenders
        batches, singles = list[tuple[float, int]](), list[tuple[float, int]]()
        for begin in range(0, len(asked), size):
            batches.append(_rate(served, asked[begin : begin + size]))
            for at in range(begin, min(begin + options.singles * contenders, len(asked)), contenders):
                singles.append(_rate(served, asked[at : at + contenders]))
        ours, theirs = _tokens_a_second(batches), _tokens_a_second(singles)
        longest = max(seconds for seconds, _ in batches)
        print(
            f"| {size} | {len(batches)} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} | {longest:.1f} |",
            flush=True,
        )


def _tokens_a_second(calls: list[tuple[float, int]]) -> float:
    return sum(tokens for _, tokens in calls) / sum(seconds for seconds, _ in calls)


def _print_contenders(served: "Served", options: argparse.Namespace) -> None:
    seconds: dict[int, list[float]] = {count: [] for count in CONTENDERS}
    for number in range(options.rounds):
        for count in CONTENDERS:
            asked = [replace(r, seed=number) for r in _requests(1, count, tokens=options.tokens)]
            seconds[count].append(_rate(served, asked)[0])
    print("\nOne question to several contenders on one base model:\n")
    print("| contenders | s | of one contender's |")
    print("| --: | --: | --: |")
    alone = median(seconds[CONTENDERS[0]])
    for count, times in seconds.items():
        print(f"| {count} | {median(times):.2f} | {median(times) / alone:.2f} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
