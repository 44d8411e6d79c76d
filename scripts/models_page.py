"""Write docs/models.md: which architectures of the installed transformers can be trained.

``python -m scripts.models_page [KIND ...]`` builds a tiny random model of each causal architecture. It
compares the model's scores, in float32 and bfloat16, with those of the model's own forward pass on each
sequence alone. This takes minutes. Results are kept in build/models.jsonl, with which the next call goes on;
delete it to try all architectures anew.
"""

import json
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hypo_engine.decoding.caching import choose_caching
from hypo_engine.errors import EngineError
from hypo_engine.forward.trial import check_sound, plain_logits, try_tokens
from hypo_engine.models.adapters import attach_lora
from hypo_engine.models.load import check_causal
from hypo_engine.prompts.packing import try_packing
from hypo_engine.prompts.separate import SeparateSequences
from hypo_engine.prompts.shared import SharedPrefix
from tests.architectures import UNTRIED, tiny_architecture, tiny_config

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
SECONDS = 120
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_WRITES = {
    "batched": "batched",
    "per row": "one by one",
    "none": "without a cache, slowly",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """The result for an architecture.

    Attributes:
        refused: The sentence with which it is refused; "" if it is not.
        packed: Whether prompts are shared and nothing is padded.
        writes: How responses are decoded if it is not packed.
        apart: Largest difference of a sequence's log-probability, in nats, for each type of the weights.
        adapted: Layers that LoRA adapts by default.
    """

    kind: str
    refused: str = ""
    packed: bool = False
    writes: str = ""
    apart: tuple[float, ...] = ()
    adapted: str = ""


def try_kind(kind: str) -> Tried:
    """Build an architecture and compare its scores with its own forward pass."""
    apart, way, view = [], "", None
    try:
        for dtype in TYPES.values():
            check_causal(tiny_config(kind), kind)
            model = tiny_architecture(kind).to(dtype)
            check_sound(model, kind)
            way, view = choose_caching(model, 0), try_packing(model)
            apart.append(_apart(model, view))
        adapted = _adapted(kind)
    except EngineError as error:
        return Tried(kind, refused=str(error))
    return Tried(kind, "", view is not None, "" if view else _WRITES[way], tuple(apart), adapted)


@torch.no_grad()
def _apart(model: Any, view: Any) -> float:
    """The largest difference between a score and the sum from a forward pass on the sequence alone."""
    first, second, *completions = (try_tokens(model, n, seed=n) for n in (30, 11, 25, 19, 6))
    prompts, rows = [first, second], [0, 0, 1]
    encoded = SharedPrefix(view, prompts) if view else SeparateSequences(model, prompts, pad_id=0)
    found = encoded.score(rows, completions).sums()
    expected = [_alone(model, prompts[row], ids) for row, ids in zip(rows, completions, strict=True)]
    return float((found - torch.tensor(expected)).abs().max())


def _alone(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> float:
    logps = plain_logits(model, [*prompt, *completion]).log_softmax(dim=-1)
    return sum(float(logps[len(prompt) + at - 1, token]) for at, token in enumerate(completion))


def _adapted(kind: str) -> str:
    """Names of the layers that LoRA adapts. Those without a gradient in a backward pass are marked."""
    model = attach_lora(
        tiny_architecture(kind), rank=2, alpha=4, target_modules="all-linear", seed=0, base_name=kind
    )
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for weight in trained.values():
        torch.nn.init.normal_(weight, std=0.1)
    SeparateSequences(model, [[3, 4, 5]], pad_id=0).score([0], [[6, 7, 8]]).values.sum().backward()
    dead = {_leaf(name) for name, p in trained.items() if p.grad is None or not bool(p.grad.any())}
    names = sorted({_leaf(name) for name in trained})
    return ", ".join(f"{name} (not reached by every text)" if name in dead else name for name in names)


def _leaf(name: str) -> str:
    return name.split(".lora_")[0].rpartition(".")[2]


def page(rows: Sequence[Tried]) -> str:
    """Render the whole page."""
    import transformers

    lines = [
        _HEAD.format(version=transformers.__version__, count=len(rows)),
        "| architecture | prompts shared | responses | float32 | bfloat16 | LoRA adapts |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if not row.refused:
            sizes = " | ".join(f"{value:.0e}" for value in row.apart)
            shared = "yes" if row.packed else "no"
            lines.append(f"| `{row.kind}` | {shared} | {row.writes or 'packed'} | {sizes} | {row.adapted} |")
    lines += ["", "## Refused by name", "", "| architecture | why |", "|---|---|"]
    lines += [f"| `{row.kind}` | {row.refused} |" for row in rows if row.refused]
    lines += ["", "## Not tried", "", _UNTRIED, "", ", ".join(f"`{kind}`" for kind in sorted(UNTRIED)) + "."]
    return "\n".join(lines) + "\n"


_HEAD = """# Models

Any causal language model that transformers knows can be trained: a folder written by `save_pretrained`, or
a model from the hub, with weights in safetensors. Its files are checked before anything is trained. What the
files alone can show is checked at Launch already, if they are on its machine:

- **Weights.** A model with missing, unknown or differently shaped weights is refused, and the message names
  them. Quantised weights are refused too: choose the same model in bfloat16 or float32.
- **Numbers.** Every weight and a forward pass on twelve tokens must be finite, and no token may change an
  earlier prediction. The last rule refuses encoders such as BERT without `is_decoder`.
- **Tokenizer.** Every token of a text needs a row in the embedding.
- **Chat template.** It is rendered in a separate process, with limits of ten seconds, one GiB and a length.
  It must keep the user's text unchanged, even if that is long, contains markup or has several lines. If it
  expects a list of parts, it gets one. A row that it refuses, or of which it drops, cuts or alters a turn, is
  left out and counted. A template that writes today's date always writes 26 July 2024, in training and in
  answers. The same pairs then give the same tokens every day, and a run can be resumed. A thought that it
  opens is closed before the answer, unless most answers of the data contain thoughts (`enable_thinking`, see
  [configuration](configuration.md)).
- **Adapters.** A folder with a LoRA adapter is merged into the model that it names
  ([launch](launch.md#start-from-a-run)). An adapter of a table that embeddings and output head share cannot
  be merged.
- **Code.** Nothing in a model's files can name an attention function, a kernel or a module to fetch or run.

A model shares prompts, and packs all tokens without padding, if its structure allows it and the numbers
agree. The structure allows it if every layer's attention goes through our function and nothing else mixes
tokens: no convolution, recurrence, state, sparse index, or position that depends on the length of a batch.
The numbers are compared in float32, layer by layer for a bfloat16 model, so that rounding hides nothing.
Every other model reads whole sequences, padded on the right, where no causal layer sees the padding. It
decodes responses in the fastest way that reproduces its own numbers.

By default LoRA adapts the linear layers. It leaves out the output head, routers, the experts of a mixture,
and the inner projections of state space layers, whose fused kernels read the weights directly.

## Tried

Tiny random models of {count} architectures in transformers {version}, written by `python -m
scripts.models_page`. The numbers are the largest difference, in nats, between a response's
log-probability here and the sum over the model's own forward pass on that sequence alone. In bfloat16,
packed tokens are rounded in another order than a single sequence.
"""

_UNTRIED = (
    "No tiny configuration of these could be made: they need other inputs besides text, or sizes that depend "
    "on one another. They go through the same checks when they are loaded."
)


@contextmanager
def _limit(kind: str) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"{kind} took more than {SECONDS} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def main(kinds: Sequence[str], kept: Path) -> None:
    """Try architectures one after another. Earlier results are kept in a file of JSON lines."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    warnings.filterwarnings("ignore")
    every = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - UNTRIED)
    lines = kept.read_text().splitlines() if kept.exists() else []
    done = {row["kind"]: Tried(**row) for row in map(json.loads, lines)}
    for kind in kinds or [kind for kind in every if kind not in done]:
        with _limit(kind):
            done[kind] = try_kind(kind)
        print(done[kind], flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a") as file:
            file.write(json.dumps(asdict(done[kind])) + "\n")
    PAGE.write_text(page([done[kind] for kind in every if kind in done]), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:], Path("build/models.jsonl"))
