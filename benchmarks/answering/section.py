"""The section `batches` of ``python -m benchmarks.app``."""

from pathlib import Path

from app.settings import get_settings
from app.store.conversations import ContenderChoice
from benchmarks.answering import cost
from benchmarks.answering.runs import add_runs, checkpoint
from benchmarks.meter import peak_bytes, resident_bytes
from hypo_engine.files.demo import demo_folder
from hypo_engine.generate import Served
from worker.serving import SERVING, ServedModel


def demo_model(models: Path) -> Path:
    """The demo model's folder.

    Raises:
        ModelError: it is not installed; the message says how to get it.
    """
    return demo_folder(models).absolute()


def run(model: Path, *, prompts: int, contenders: int, tokens: int) -> bool:
    """Measure in the settings' home, which is new; print, and return whether limits are kept."""
    before = resident_bytes()
    base = SERVING.load([ServedModel(str(model), None)], worker=cost.WORKER)[0]
    base.stop_ids = frozenset()
    loaded = resident_bytes() - before
    run_ids = add_runs(model, max(cost.MOST_TIMES) - 1)
    served, adapters = _with_adapters(model, run_ids)
    adapted = resident_bytes() - before

    rows = get_settings().answer_batch_rows
    print(
        f"\nBatches: {prompts} prompts, {contenders} contenders on one base model, {tokens} tokens an answer,"
    )
    print(f"at most {rows} answers at a time:\n")
    choices = [ContenderChoice(base_model=str(model)), *(ContenderChoice(run_id=run) for run in run_ids)]
    gain = cost.measure_gain(choices[:contenders], prompts=prompts, tokens=tokens)
    print("\n".join(gain.lines()))
    print(f"\nOne question to several contenders on one base model, {tokens} tokens an answer:\n")
    lines, kept = cost.contender_lines(cost.measure_contenders(served, adapters, tokens=tokens))
    print("\n".join(lines))
    weights = sum(p.numel() * p.element_size() for n, p in served.base.named_parameters() if "lora_" not in n)
    size, alone, all_of_them, most = (
        f"{count / 1e9:.2f} GB" for count in (weights, loaded, adapted, peak_bytes())
    )
    print(f"\nThe base model has {size}. Loading it took {alone}, and with {len(run_ids)} adapters")
    print(f"{all_of_them}. The process held at most {most}.")
    return gain.kept and kept


def _with_adapters(model: Path, run_ids: list[int]) -> tuple[Served, list[str | None]]:
    """The served base model and the names of its models, the base first; each has answered once."""
    adapters = [None, *map(checkpoint, run_ids)]
    served, failed = SERVING.load([ServedModel(str(model), name) for name in adapters], worker=cost.WORKER)
    if failed:
        raise RuntimeError(f"A model could not be served: {failed}")
    cost.measure_contenders(served, adapters, tokens=2)
    return served, adapters
