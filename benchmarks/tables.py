"""The results as Markdown, one text per section."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from statistics import median
from typing import get_args

from benchmarks.bound import PHASES, Rates, Sizes, bound_seconds, decode_work, step_work
from benchmarks.decision import chi_square_fits, means_agree
from benchmarks.jobs import CONTENDERS, SHAPES, Job, Precision
from benchmarks.machine import peak_operations
from benchmarks.results import Record, Results, Summary, job_of, summarise

LORA_RANK = 16
PRECISIONS: tuple[str, ...] = get_args(Precision)
_GIGA = 1e9
_NOTHING = "–"


def section_text(results: Results, section: str) -> str:
    """One section's tables, below the command and the machine; empty without measurements."""
    makers: dict[str, Callable[[Results], str]] = {
        "steps": _steps,
        "reward": lambda found: _other(found.reward),
        "rloo": lambda found: _other(found.rloo),
        "decode": _decode,
        "accuracy": _accuracy,
        "growth": _growth,
        "memory": _memory,
        "parts": _parts,
    }
    body = makers[section](results) if getattr(results, section) else ""
    if not body:
        return ""
    where = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    warning = (
        "Lengths were short: these numbers try the harness and say nothing.\n\n" if results.quick else ""
    )
    commands = ", ".join(f"`{command}`" for command in dict.fromkeys(results.commands))
    return f"{commands} on: {where}.\n\n{warning}{body}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. All columns except the first are right-aligned."""
    lines = [head, ["---", *(["--:"] * (len(head) - 1))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def median_rates(results: Results, model: str, precision: str) -> Rates:
    """The machine's rates with a model's shapes: the medians of all measurements."""
    found = _rates(results, model, precision)
    return Rates(median(r["operations"] for r in found), median(r["bytes"] for r in found))


def _configuration(job: Job) -> str:
    shape = next(
        (s.name for s in SHAPES.values() if (s.prompt, s.completion) == (job.prompt, job.completion)),
        f"P {job.prompt} C {job.completion}",
    )
    return f"{job.model}, {shape}, {job.tuning}, {job.method}"


def _rates(results: Results, model: str, precision: str) -> list[Record]:
    jobs = ((job_of(record), record) for record in results.rates)
    return [record for job, record in jobs if (job.model, job.precision) == (model, precision)]


Group = dict[tuple[str, str], Record]
"""Records of one configuration, by contender and precision."""


def _groups(steps: Iterable[Record]) -> dict[str, Group]:
    """Records of steps by configuration, in the order they were measured."""
    groups: dict[str, Group] = {}
    for record in steps:
        job = job_of(record)
        groups.setdefault(_configuration(job), {})[job.measure, job.precision] = record
    return groups


def _steps(results: Results) -> str:
    groups = _groups(results.steps)
    parts = [
        _agreement(results.agreement),
        _ratios(groups),
        table(_STEP_HEAD, _step_rows(groups)),
        "`reference` is the one-time cost of scoring the reference, in seconds a step.\n",
        *(_bound(results, *pair) for pair in product(results.models, PRECISIONS)),
    ]
    return "\n".join(part for part in parts if part)


def _agreement(records: Sequence[Record]) -> str:
    """How far each contender's log-probabilities lie from TRL's in float32."""
    told = []
    for precision, what in (("float32", "at most"), ("bfloat16", "on average at most")):
        for who in ("ours", "TRL"):
            mine = [r for r in records if (r["who"], job_of(r).precision) == (who, precision)]
            own = [r["difference"] for r in mine if job_of(r).trains == "preference"]
            known = [gap for gap in own if gap is not None]
            missing = (
                f" ({len(own) - len(known)} not compared: out of memory)" if len(known) < len(own) else ""
            )
            if known:
                told.append(f"{who} in {precision} {what} {max(known):.1e}{missing}")
    if not told:
        return "Log-probabilities could not be compared for want of memory.\n"
    return (
        "Log-probabilities of the first batch were compared with TRL's in float32 before anything was timed. "
        f"They differ, in nats a token: {', '.join(told)}.\n"
    )


def _ratios(groups: dict[str, Group]) -> str:
    """Ours against the others, each in its fastest precision, and then all in float32."""
    precisions = {precision for group in groups.values() for _, precision in group}
    if len(precisions) == 1:
        return table(_RATIO_HEAD, _ratio_rows(groups))
    alike = {
        name: {key: r for key, r in group.items() if key[1] == "float32"} for name, group in groups.items()
    }
    return (
        f"Each in the precision in which it is fastest:\n\n{table(_RATIO_HEAD, _ratio_rows(groups))}\n"
        f"All in float32:\n\n{table(_RATIO_HEAD, _ratio_rows(alike))}"
    )


_STEP_HEAD = (
    "step",
    "who",
    "precision",
    "s a step",
    "fastest..slowest",
    "tokens/s",
    "peak GB",
    "above loading",
    "reference",
)
_RATIO_HEAD = ("step", "against", "ours in", "theirs in", "times faster", "peak memory, of theirs")


def _other(records: Sequence[Record]) -> str:
    """Steps of a method whose reference is not scored beforehand."""
    groups = _groups(records)
    steps = table(_STEP_HEAD[:-1], (row[:-1] for row in _step_rows(groups)))
    return f"{_ratios(groups)}\n{steps}"


def _step_rows(groups: dict[str, Group]) -> Iterable[list[str]]:
    return (_step_row(name, record) for name, group in groups.items() for record in group.values())


def _step_row(name: str, record: Record) -> list[str]:
    job, summary = job_of(record), summarise(record["runs"])
    if summary is None:
        return [name, CONTENDERS[job.measure], job.precision, "out of memory", *([_NOTHING] * 5)]
    return [
        name,
        CONTENDERS[job.measure],
        job.precision,
        f"{summary.seconds:.2f}",
        f"{summary.low:.2f}..{summary.high:.2f}",
        f"{job.tokens / summary.seconds:.0f}",
        f"{summary.peak / _GIGA:.2f}",
        f"{(summary.peak - summary.loaded) / _GIGA:.2f}",
        f"{summary.reference:.2f}" if summary.reference else _NOTHING,
    ]


def _ratio_rows(groups: dict[str, Group]) -> Iterable[list[str]]:
    for name, group in groups.items():
        ours = _fastest(group, "ours")
        for who in dict.fromkeys(who for who, _ in group if who != "ours"):
            if ours is None:
                continue
            theirs = _fastest(group, who)
            if theirs is None:
                yield [name, CONTENDERS[who], "they: out of memory", *([_NOTHING] * 3)]
                continue
            speed, memory = theirs[1].seconds / ours[1].seconds, ours[1].peak / theirs[1].peak
            yield [name, CONTENDERS[who], ours[0], theirs[0], f"{speed:.2f}", f"{memory:.2f}"]


def _fastest(group: Group, who: str) -> tuple[str, Summary] | None:
    """A contender's fastest precision, and its summary; None if it ran out of memory in all."""
    found = [(p, summarise(record["runs"])) for (name, p), record in group.items() if name == who]
    fits = [(precision, summary) for precision, summary in found if summary is not None]
    return min(fits, key=lambda pair: pair[1].seconds, default=None)


def _bound(results: Results, model: str, precision: str) -> str:
    """Our steps compared with their lower bound, with one column per phase: measured / bound."""
    if not _rates(results, model, precision):
        return ""
    rates, sizes = median_rates(results, model, precision), Sizes.of(results.models[model])
    peak = peak_operations(results.machine["accelerator"]) if results.on_gpu else None
    rows = []
    for name, group in _groups(results.steps).items():
        own = group.get(("ours", precision))
        summary = summarise(own["runs"]) if own else None
        if own and summary is not None and job_of(own).model == model:
            rows.append(_bound_row(name, job_of(own), summary, sizes, rates, peak, results.on_gpu))
    if not rows:
        return ""
    head = ["step", "s a step", "bound", "ratio", *PHASES]
    lead = (
        f"The bound for {model} in {precision}: operations at {rates.operations / _GIGA:.0f} GFLOP/s "
        f"({_range(results, model, precision, 'operations')}) in the model's own matrix products, decoding's "
        f"bytes at {rates.bytes / _GIGA:.1f} GB/s ({_range(results, model, precision, 'bytes')}), both "
        "measured between the steps. Phases in seconds, measured / bound.\n\n"
    )
    return lead + table([*head, "MFU"] if results.on_gpu else head, rows)


def _bound_row(
    name: str, job: Job, summary: Summary, sizes: Sizes, rates: Rates, peak: float | None, on_gpu: bool
) -> list[str]:
    work = step_work(sizes, job, rank=LORA_RANK, bytes_per_number=_bytes(job))
    bound = bound_seconds(work, rates)
    row = [name, f"{summary.seconds:.2f}", f"{bound:.2f}", f"{summary.seconds / bound:.2f}"]
    for phase in PHASES:
        measured = summary.phases.get(phase)
        least = f" / {work[phase].seconds(rates):.2f}" if phase in work else ""
        row.append(f"{measured:.2f}{least}" if measured is not None else f"{_NOTHING}{least}")
    if on_gpu:
        operations = sum(part.operations for part in work.values())
        row.append(f"{operations / summary.seconds / peak:.0%}" if peak else "GPU not listed")
    return row


def _bytes(job: Job) -> int:
    return 2 if job.precision == "bfloat16" else 4


def _range(results: Results, model: str, precision: str, rate: str) -> str:
    values = [record[rate] / _GIGA for record in _rates(results, model, precision)]
    return f"{min(values):.0f}..{max(values):.0f}"


def _decode(results: Results) -> str:
    rows = [_decode_row(results, record) for record in results.decode]
    head = (
        "weights",
        "precision",
        "rows",
        "ours, tokens/s",
        "generate",
        "ratio",
        "after the prompt: ours",
        "generate",
        "ratio",
        "of the bandwidth",
        "decode - training, nats",
        "same mean",
    )
    return table(head, rows) + "".join(f"\n{_draws_text(record)}\n" for record in results.draws)


def _decode_row(results: Results, record: Record) -> list[str]:
    job = job_of(record)
    weights = f"{job.model}, {'policy with LoRA' if job.tuning == 'lora' else 'base model'}"
    if "out_of_memory" in record:
        return [weights, job.precision, str(job.pairs * job.samples), "out of memory", *([_NOTHING] * 8)]
    rows, length = job.pairs * job.samples, job.completion
    cells, after = [], []
    for who in ("ours", "generate"):
        whole = median(seconds for seconds, _ in record[who])
        apart = median(seconds - prefill for seconds, prefill in record[who])
        cells.append(rows * length / whole)
        after.append(rows * (length - 1) / apart)
    work = decode_work(
        Sizes.of(results.models[job.model]),
        prompts=job.pairs,
        samples=job.samples,
        prompt=job.prompt,
        length=length,
        bytes_per_number=_bytes(job),
    )
    seconds = rows * (length - 1) / after[0]
    share = work.bytes / seconds / median_rates(results, job.model, job.precision).bytes
    return [
        weights,
        job.precision,
        str(rows),
        f"{cells[0]:.0f}",
        f"{cells[1]:.0f}",
        f"{cells[0] / cells[1]:.2f}",
        f"{after[0]:.0f}",
        f"{after[1]:.0f}",
        f"{after[0] / after[1]:.2f}",
        f"{share:.0%}",
        f"{record['difference']:.1e}",
        "yes" if means_agree(*record["means"]) else "**no**",
    ]


def _draws_text(record: Record) -> str:
    fits = chi_square_fits(record["chi_square"], record["freedom"])
    close = means_agree((record["mean"], record["error"]), (record["expected"], 0.0))
    return (
        f"{record['draws']} draws of one token against the exact softmax: chi-square "
        f"{record['chi_square']:.1f} with {record['freedom']} degrees of freedom "
        f"({'fits' if fits else '**does not fit**'}); mean log-probability {record['mean']:.3f} ± "
        f"{record['error']:.3f}, expected {record['expected']:.3f} "
        f"({'within' if close else '**outside**'} three standard errors)."
    )


def _accuracy(results: Results) -> str:
    """Distances of log-probabilities from float64's."""
    rows = [
        [f"{job_of(record).model}, {who}", str(record["tokens"]), *(f"{gap[name]:.1e}" for name in _GAPS)]
        for record in results.accuracy
        for who, gap in record["contenders"].items()
    ]
    return table(("log-probabilities", "tokens", *_GAPS), rows)


_GAPS = ("median", "mean", "largest")


def _growth(results: Results) -> str:
    rows = []
    for record in results.growth:
        job, summary = job_of(record), summarise(record["runs"])
        size = {"P": job.prompt, "C": job.completion, "B": job.pairs, "k": job.samples}[record["varied"]]
        lead = [f"{record['varied']} = {size}", str(job.tokens)]
        if summary is None:
            rows.append([*lead, "out of memory", *([_NOTHING] * 3)])
            continue
        extra = summary.peak - summary.loaded
        rows.append(
            [
                *lead,
                f"{summary.seconds:.2f}",
                f"{1e3 * summary.seconds / job.tokens:.2f}",
                f"{extra / _GIGA:.2f}",
                f"{extra / 1e6 / job.tokens:.2f}",
            ]
        )
    head = ("one size varied", "tokens", "s a step", "ms a token", "GB above loading", "MB a token")
    return table(head, rows)


def _memory(results: Results) -> str:
    rows = []
    for record in results.memory:
        job, summary = job_of(record), summarise(record["runs"])
        name = f"{_configuration(job)}, B {job.pairs}, {job.precision}"
        estimate = record["estimate"]["peak"]
        if summary is None:
            rows.append([name, f"{estimate / _GIGA:.2f}", "out of memory", _NOTHING])
            continue
        error = estimate / summary.peak - 1
        rows.append([name, f"{estimate / _GIGA:.2f}", f"{summary.peak / _GIGA:.2f}", f"{error:+.1%}"])
    return table(("step", "estimated GB", "measured GB", "error"), rows)


def _parts(results: Results) -> str:
    """Steps without each part as ratios to the whole engine. A ratio above 1 is the gain of the part."""
    found = {
        (job.samples, job.without): summarise(record["runs"])
        for record in results.parts
        for job in [job_of(record)]
    }
    rows = []
    for without in dict.fromkeys(without for _, without in found):
        cells = [without or "nothing"]
        for samples in dict.fromkeys(samples for samples, _ in found):
            cells += _part_cells(found[samples, without], found[samples, ""], decodes=samples > 0)
        rows.append(cells)
    head = ["without"]
    for record in results.parts:
        job = job_of(record)
        if not job.without:
            head += [f"{_configuration(job)}: s a step", "ratio", "peak GB", "ratio"] + [
                "decode, s",
                "ratio",
            ] * (job.samples > 0)
    return table(head, rows)


def _part_cells(one: Summary | None, whole: Summary | None, *, decodes: bool) -> list[str]:
    if one is None or whole is None:
        return ["out of memory", *([_NOTHING] * (5 if decodes else 3))]
    pairs = [(one.seconds, whole.seconds), (one.peak / _GIGA, whole.peak / _GIGA)]
    if decodes:
        pairs.append((one.phases["decode"], whole.phases["decode"]))
    return [cell for value, base in pairs for cell in (f"{value:.2f}", f"{value / base:.2f}")]
