"""``python -m hypo_engine.export_model JOB``: a run's model as a merged folder or a GGUF file, checked.

What is written is loaded again by transformers alone, and gives stored answers the log-probabilities that the
run's own code gives them, or the export fails. JOB is a JSON file with the fields of :class:`Job`.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from hypo_engine.config import Precision, TrainConfig, parse_config
from hypo_engine.data.formats import Pair
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.errors import EngineError, ModelError
from hypo_engine.files.check import folder_finder
from hypo_engine.files.gguf_tokenizer import read_gguf_tokenizer
from hypo_engine.files.weights import INDEX, SINGLE
from hypo_engine.memory.estimate import format_bytes
from hypo_engine.models.gguf import check_writable, write_gguf
from hypo_engine.models.load import load_tokenizer
from hypo_engine.models.merged import load_merged, save_merged
from hypo_engine.models.source import ModelSource, resolve_source
from hypo_engine.models.untrusted import read_config
from hypo_engine.pair_scores import PairScore, PairScorer, load_pair_scorer
from hypo_engine.training.checkpoint import trained_folder

EXACT, ROUNDED = 1e-3, 0.1
"""Largest difference in nats a token, for float32 weights and for others."""

GGUF_FILE: Final = "model.gguf"

CHECKED_PAIRS: Final = 4
"""Pairs on whose answers an export is checked."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to export.

    Attributes:
        config: Of the run.
        checkpoint: A folder with the run's adapter or model.
        base, base_adapters: The files of the run that the base model is, if it is one.
        pairs: Prompts with two answers; the result is checked on the first that the run can read.
        output: The folder to write, which does not exist yet.
        gguf: Whether to write a GGUF file instead of a folder for transformers.
        name: The model's name for people.
        models_dir: Where the demo model is unpacked.
    """

    config: dict[str, Any]
    checkpoint: str
    base: str | None
    base_adapters: list[str]
    pairs: list[dict[str, Any]]
    output: str
    gguf: bool
    name: str
    models_dir: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The check of an export.

    Attributes:
        answers: Number of answers scored.
        difference: The largest difference of an answer's log-probability to the run's own, in nats a token.
    """

    answers: int
    difference: float


def export_model(job: Job) -> Checked:
    """Write a run's model to ``job.output`` and check it.

    Raises:
        EngineError: it cannot be written, there is no room, or what was written differs from the run's model.
    """
    config, checkpoint, output = parse_config(job.config), Path(job.checkpoint), Path(job.output)
    if config.precision is Precision.AUTO:  # more digits to compare
        config = config.model_copy(update={"precision": Precision.FLOAT32})
    models_dir, trained = Path(job.models_dir), trained_folder(Path(job.checkpoint))
    given = ModelSource(job.base, tuple(map(Path, job.base_adapters))) if job.base else None
    source = resolve_source(config.model_name_or_path, models_dir, given)
    whole = (trained / "config.json").is_file()
    place = str(trained) if whole else source.place
    if job.gguf:
        check_writable(read_config(place))
    _refuse_without_room(output.parent, _stored_bytes(place))
    scorer = load_pair_scorer(config, checkpoint, models_dir, given)
    own = _own_scores(scorer, [Pair(**pair) for pair in job.pairs])
    model = load_merged(place, () if whole else (*source.adapters, trained))
    exact = config.precision is Precision.FLOAT32 and model.dtype == torch.float32
    tokenizer = load_tokenizer(place)
    _refuse_without_room(output.parent, model.num_parameters() * model.dtype.itemsize)
    output.mkdir(parents=True)
    check = partial(_check, config, scorer.tokenization, own, limit=EXACT if exact else ROUNDED)
    del scorer
    if not job.gguf:
        save_merged(model, tokenizer, place, output)
        del model
        return check(output)
    with TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        vocabulary = read_gguf_tokenizer(Path(scratch), model.get_input_embeddings().weight.shape[0])
    write_gguf(model, tokenizer, vocabulary, output / GGUF_FILE, name=job.name)
    del model
    return check(output, gguf_file=GGUF_FILE)


def _own_scores(scorer: PairScorer, pairs: Sequence[Pair]) -> list[tuple[Pair, PairScore]]:
    """The first pairs that the run can read, with the run's scores."""
    found: list[tuple[Pair, PairScore]] = []
    for pair in pairs:
        [score] = scorer.score([pair])
        if isinstance(score, PairScore):
            found.append((pair, score))
        if len(found) == CHECKED_PAIRS:
            break
    if not found:
        raise ModelError(
            "No pair of the run's dataset can be scored, so an export cannot be checked; export the adapter, "
            "without --merged or --gguf."
        )
    return found


def _check(
    config: TrainConfig,
    before: Tokenization,
    own: Sequence[tuple[Pair, PairScore]],
    folder: Path,
    *,
    limit: float,
    **load: Any,
) -> Checked:
    """Load what was written by transformers alone, and compare its log-probabilities with the run's own."""
    what = "The GGUF file" if load else "The merged model"
    model, tokenizer = _load_again(folder, what, load)
    after = Tokenization(tokenizer, before.style, thinking=before.thinking)
    differences = []
    for pair, score in own:
        tokens, again = (_tokens(config, pair, one) for one in (before, after))
        if tokens != again:
            raise ModelError(
                f"{what} reads a text as other tokens than the run does, so it was not kept; its tokenizer "
                "cannot be written in this format."
            )
        prompt, chosen, rejected = tokens
        for logp, answer in ((score.chosen, chosen), (score.rejected, rejected)):
            differences.append(abs(_logp(model, prompt, answer) - logp) / len(answer))
    worst = max(differences)
    if not worst <= limit:
        raise ModelError(
            f"{what} gives answers other log-probabilities than the run's model: they differ by {worst:.2g} "
            f"nats a token, where {limit:g} would be rounding. It was not kept."
        )
    return Checked(len(differences), worst)


def _load_again(folder: Path, what: str, load: Mapping[str, Any]) -> tuple[Any, Any]:
    """Load a written model and its tokenizer by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **load)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32 if load else "auto", **load
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transformers raises arbitrary errors
        raise ModelError(
            f"{what} was written and cannot be loaded again ({str(error)[:300]}), so it was not kept."
        ) from error
    return model.eval(), tokenizer


def _tokens(config: TrainConfig, pair: Pair, tokenization: Tokenization) -> list[tuple[int, ...]]:
    """The token ids of a pair's prompt and answers; none if an answer is too long."""
    kept, _ = tokenize_pairs(
        [pair],
        tokenization,
        max_prompt_length=config.max_prompt_length,
        max_completion_length=config.max_completion_length,
    )
    return [tuple(ids) for one in kept for ids in (one.prompt, one.chosen, one.rejected)]


@torch.no_grad()
def _logp(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """The log-probability of an answer, by the model's own forward pass."""
    ids = torch.tensor([[*prompt, *answer]])
    logps = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(dim=-1)
    return float(logps.gather(1, torch.tensor(answer)[:, None]).double().sum())


def _stored_bytes(place: str) -> int:
    """Bytes of a model's weights on this machine; 0 if they are not here yet."""
    folder = Path(place)
    names = {SINGLE} if folder_finder(folder)(INDEX) is None else set(folder.glob("*.safetensors"))
    return sum((folder / name).stat().st_size for name in names if (folder / name).is_file())


def _refuse_without_room(folder: Path, weights: int) -> None:
    free = shutil.disk_usage(folder).free
    if weights > free:
        raise EngineError(
            f"The export needs {format_bytes(weights)} in {folder}, where {format_bytes(free)} are free; "
            "make room, or give another folder."
        )


def main(arguments: Sequence[str]) -> int:
    """Export as a job's file says; prints the check as JSON, or the reason for failing on stderr with 1."""
    from hypo_engine.training.explain import plain_errors

    try:
        with plain_errors():
            job = Job(**json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
            print(json.dumps(asdict(export_model(job))))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
