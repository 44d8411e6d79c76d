"""The benchmark: a step of every contender in its own process, the arithmetic of the bound, the tables."""

import json
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import children, llamas
from benchmarks.__main__ import main
from benchmarks.bound import Rates, Sizes, Work, bound_seconds, decode_work, step_work
from benchmarks.children import ChildFailed, run_job
from benchmarks.decision import chi_square_fits, means_agree
from benchmarks.draws import chi_square_of
from benchmarks.estimate import estimate
from benchmarks.jobs import SHAPES, Job, pairs_of
from benchmarks.options import BadOption, parse
from benchmarks.report import PAGE, replace_between, write_page
from benchmarks.results import Results, record_of, summarise
from benchmarks.sections import (
    Disagreement,
    check_agreement,
    contenders,
    growth_jobs,
    in_turn,
    memory_jobs,
)
from benchmarks.tables import section_text
from benchmarks.without import PARTS, replacements, switch_off
from hypo_engine.cpu import attention, bf16_gemm, elementwise, gemm, lora, pool, skinny_gemm
from hypo_engine.cpu.elementwise import BlockwiseSoftmax
from hypo_engine.cpu.pool import POOL
from hypo_engine.decoding import cpu_step
from hypo_engine.models.adapters import attach_lora
from tests.forked import ForkedPython
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("bench") / "tiny")


@pytest.fixture
def job(model: Path) -> Job:
    return Job("ours", str(model), prompt=12, completion=5, pairs=2, threads=1)


def forked_child(folder: Path, environment: dict[str, str]) -> ForkedPython:
    """A child that starts sooner than those whose memory is to be measured."""
    return ForkedPython("benchmarks.child", [str(folder)], environment=environment, log=folder / "log")


BOTH = bf16_gemm.is_fast()
PRECISIONS = ("float32", "bfloat16") if BOTH else ("float32",)
"""Those that the command measures on this machine."""


@pytest.fixture(scope="module")
def quick(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, str]:
    """What the whole command stored with ``--quick``, and what it printed."""
    file = tmp_path_factory.mktemp("quick") / "all.json"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr(children, "start_child", forked_child)
        assert main(["--quick", "--model", str(model), "--json", str(file)]) == 0
    with redirect_stdout(StringIO()) as again:
        assert main(["--read", str(file)]) == 0
    assert again.getvalue() == printed.getvalue()
    return Results.load(file), printed.getvalue()


def parts_at_work() -> dict[str, bool]:
    """Whether the engine currently uses each part."""
    x, w, held = torch.ones(4, 64), torch.ones(64), POOL.held
    heads, adapter = torch.ones(2, 1, 64), torch.ones(2, 64)
    block = pool.empty(1 << 20)
    return {
        "decode_step": skinny_gemm.product(x, x) is not None and cpu_step.library() is not None,
        "attention": attention.Segments([2]).attend(heads, heads, heads, None, 1.0) is not None,
        "elementwise": elementwise.rms_norm(x, w, 1e-6) is not None,
        "head": BlockwiseSoftmax.serves(x),
        "lora": lora.gradients(x, [x], [adapter], [adapter.t().contiguous()], [1.0]) is not None,
        "gemm": gemm._own() is not None,
        "pool": POOL.held > held and len(block) > 0,
    }


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_switched_off(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, functions in replacements()[part]:
        for name in functions:
            monkeypatch.setattr(owner, name, getattr(owner, name))  # restored after the test
    POOL.release()
    before = parts_at_work()
    if skinny_gemm.library() is not None:
        assert before == dict.fromkeys(PARTS, True) | {"gemm": gemm.is_amd()}
    switch_off(part)
    POOL.release()
    assert parts_at_work() == before | {part: False}


def test_a_child_knows_the_parts(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "start_child", forked_child)
    with pytest.raises(ChildFailed, match="KeyError: 'nothing'"):
        run_job(replace(job, without="nothing"))


@pytest.mark.timeout(1200)
def test_the_whole_command_measures_everything(quick: tuple[Results, str]) -> None:
    found, printed = quick
    for row in ("| ours |", "| TRL defaults |", "| TRL tuned |", "| composed on TRL |"):
        step = f"lora, {'HyPO k=2' if 'composed' in row else 'DPO'} {row}"
        assert all(f"{step} {precision} |" in printed for precision in PRECISIONS)
    for part in (
        "The bound for tiny in float32",
        *(("The bound for tiny in bfloat16", "Each in the precision in which it is fastest") if BOTH else ()),
        "| tiny, base model | float32 | 4 |",
        *(("| tiny, plain bfloat16 | 1024 |",) if BOTH else ()),
        "1024 draws",
        "| P = 64 |",
        "estimated GB",
        "| nothing |",
        "| decode_step |",
    ):
        assert part in printed
    parts = found.steps, found.reward, found.rloo, found.decode, found.accuracy, found.growth, found.memory
    assert [len(part) for part in parts] == ([10, 6, 6, 3, 1, 1, 2] if BOTH else [5, 3, 3, 2, 0, 1, 1])
    assert all(row in printed for row in ("lora, reward model | TRL tuned |", "lora, RLOO k=2 | ours |"))


def test_bfloat16_lies_closer_to_float64_than_a_plain_pass(quick: tuple[Results, str]) -> None:
    assert len(quick[0].accuracy) == BOTH
    for found in quick[0].accuracy:
        gaps = found["contenders"]
        assert gaps["ours in float32"]["largest"] < 1e-3
        for name in ("median", "mean"):
            own = gaps["ours in float32"][name], gaps["ours in bfloat16"][name]
            assert own[0] < own[1] < gaps["plain bfloat16"][name]


def test_every_contender_runs_a_step(quick: tuple[Results, str]) -> None:
    contenders = {
        (r["job"]["measure"], r["job"]["samples"], r["job"]["precision"]): r["runs"] for r in quick[0].steps
    }
    every = (("ours", 0), ("trl", 0), ("trl_tuned", 0), ("ours", 2), ("composed", 2))
    assert set(contenders) == {(*who, precision) for who in every for precision in PRECISIONS}
    for (measure, samples, _), runs in contenders.items():
        summary = summarise(runs)
        assert summary is not None
        assert len(runs[0]["seconds"]) == 1  # the warm-up is not counted
        assert summary.seconds > 0
        assert summary.peak >= summary.loaded > 1e8  # torch alone needs that much
        assert (summary.reference > 0) == (measure != "trl")
        passes = {"prefix", "completions", "decode"} if samples else {"forward"}
        assert (passes | {"backward", "optimiser"} <= set(summary.phases)) == (measure == "ours")


@pytest.mark.parametrize("section", ["reward", "rloo"])
def test_other_methods_run_a_step(quick: tuple[Results, str], section: str) -> None:
    records = getattr(quick[0], section)
    assert [(record["job"]["measure"], record["job"]["precision"]) for record in records] == [
        (who, precision) for who in ("ours", "trl", "trl_tuned") for precision in PRECISIONS
    ]
    for record in records:
        summary = summarise(record["runs"])
        assert summary is not None
        assert summary.seconds > 0
        assert summary.reference == 0


def test_contenders_agree_on_the_first_batch(quick: tuple[Results, str]) -> None:
    found = [(r["who"], r["job"]["precision"], r["difference"]) for r in quick[0].agreement]
    asked = [("ours", "float32"), ("ours", "bfloat16"), ("TRL", "bfloat16")][: 3 if BOTH else 1]
    assert [(who, precision) for who, precision, _ in found] == 2 * asked
    for _, precision, gap in found:
        assert 0 <= gap < (1e-4 if precision == "float32" else 0.1)


def test_log_probabilities_that_differ_are_told() -> None:
    ours = [[-1.0, -2.0], [-3.0]]
    assert check_agreement(ours, [[-1.0, -2.0], [-3.00002]], what="they", bf16=False) < 1e-4
    with pytest.raises(Disagreement, match=r"differ by 0\.0002 nats a token from TRL"):
        check_agreement(ours, [[-1.0, -2.0002], [-3.0]], what="they", bf16=False)
    with pytest.raises(Disagreement, match=r"differ by 0\.01 an answer from"):
        check_agreement([[1.0]], [[1.01]], what="rewards", bf16=False, unit="an answer")
    with pytest.raises(Disagreement, match="other lengths"):
        check_agreement(ours[1:], ours, what="they", bf16=False)


def test_agreement_refuses_what_is_no_number() -> None:
    with pytest.raises(Disagreement):
        check_agreement([[float("nan")]], [[0.0]], what="they", bf16=False)


def test_decoding_is_timed_and_checked(quick: tuple[Results, str]) -> None:
    assert [record["job"]["tuning"] for record in quick[0].decode] == (
        ["lora", "lora", "full"] if BOTH else ["lora", "full"]
    )
    for found in quick[0].decode:
        exact = found["job"]["precision"] == "float32"
        assert [len(found[who]) for who in ("ours", "generate")] == [2, 2]
        assert all(whole > prefill > 0 for whole, prefill in found["ours"])
        assert 0 < found["difference"] < (1e-4 if exact else 0.2)
        assert means_agree(*found["means"])


def test_draws_follow_the_softmax(quick: tuple[Results, str]) -> None:
    (found,) = quick[0].draws
    assert found["draws"] == 1024
    assert chi_square_fits(found["chi_square"], found["freedom"])
    assert means_agree((found["mean"], found["error"]), (found["expected"], 0.0))


def test_draws_from_another_distribution_do_not_fit() -> None:
    source = torch.Generator().manual_seed(0)
    logps = torch.randn(300, generator=source, dtype=torch.float64).log_softmax(dim=0)
    drawn = torch.multinomial(logps.exp(), 4096, replacement=True, generator=source)
    warmer = torch.multinomial((0.8 * logps).softmax(dim=0), 4096, replacement=True, generator=source)
    assert chi_square_fits(*chi_square_of(logps, drawn))
    assert not chi_square_fits(*chi_square_of(logps, warmer))


def test_the_machines_rates_are_measured(quick: tuple[Results, str]) -> None:
    assert quick[0].rates
    for found in quick[0].rates:
        assert 1e7 < found["operations"] < 1e15
        assert 1e7 < found["bytes"] < 1e15


def test_a_random_llama_can_be_trained(job: Job, tmp_path: Path) -> None:
    tiny = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 384,
    }
    settings = {"size": "tiny", "sizes": {"tiny": tiny}, "folder": str(tmp_path / "llama")}
    llamas.write(replace(job, measure="random_llama", settings=settings))
    composed = replace(job, measure="composed", model=settings["folder"], tuning="full", samples=1)
    assert len(run_job(composed)["seconds"]) == 1


def test_the_engines_estimate_is_asked(job: Job) -> None:
    small, large = (
        estimate(replace(job, measure="estimate", prompt=length, samples=1)) for length in (12, 1200)
    )
    assert 0 < sum(small["parts"].values()) - small["parts"]["kv_cache"] <= small["peak"]
    assert large["peak"] - small["peak"] > 2 * 1188 * 2 * 4 * 32  # pairs, tokens, layers, bytes, hidden


def test_a_child_that_fails_says_why(job: Job) -> None:
    with pytest.raises(ChildFailed, match=r"'ours' failed:\n(.|\n)*no-such-folder"):
        run_job(replace(job, model="no-such-folder"))


def test_a_child_that_eats_the_memory_is_ended(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "available_memory", lambda: 0.0)
    assert run_job(job) == {"out_of_memory": True}


def test_a_child_that_cannot_allocate_is_out_of_memory(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "start_child", forked_child)
    settings = {"megabytes": 2**40}
    assert run_job(replace(job, measure="rates", settings=settings)) == {"out_of_memory": True}


# --- token ids and plans ---------------------------------------------------------------------------------


def test_everybody_gets_the_same_token_ids(job: Job) -> None:
    pairs = pairs_of(job, steps=3, vocabulary=384)
    assert pairs == pairs_of(replace(job, measure="trl", samples=2, tuning="full"), steps=3, vocabulary=384)
    assert len(pairs) == 6
    assert {len(p.prompt) for p in pairs} == {12}
    assert {len(ids) for p in pairs for ids in (p.chosen, p.rejected)} == {5}
    assert len({tuple(p.chosen) for p in pairs}) == 6
    assert pairs[:2] == pairs_of(job, steps=1, vocabulary=384)


def test_another_contender_begins_each_round() -> None:
    names = contenders(0)
    assert [in_turn(names, number)[0] for number in range(4)] == ["ours", "trl", "trl_tuned", "ours"]
    assert all(sorted(in_turn(names, number)) == sorted(names) for number in range(4))
    assert contenders(2) == ("ours", "composed")


def test_twelve_configurations_and_every_size_varied(job: Job) -> None:
    jobs = memory_jobs(job)
    assert len(jobs) == len(set(map(repr, jobs))) == 12
    assert {j.tuning for j in jobs} == {"lora", "full", "qlora"}
    grown = growth_jobs(job)
    assert {name for name, _ in grown} == {"P", "C", "B", "k"}
    assert [j.prompt for name, j in grown if name == "P"] == [64, 128, 256, 512, 1024, 2048]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shapes", "tldr,huge"], "--shapes: 'huge' is not known; give some of tldr, chat, long"),
        (["--tuning", ""], "--tuning: nothing is named; give some of lora, full"),
        (["--k", "0,-1"], "--k: '0,-1' is no list of numbers"),
        (["--rounds", "0"], "--rounds: 0 is too few; give at least 1"),
        (["--model", "no-such-folder"], "--model: there is no model in 'no-such-folder'; run `make setup`"),
    ],
)
def test_a_bad_option_is_one_sentence(model: Path, arguments: list[str], sentence: str) -> None:
    with pytest.raises(BadOption) as caught:
        parse(["--model", str(model), *arguments])
    assert str(caught.value).startswith(sentence)


def test_options_and_the_command_without_paths(model: Path) -> None:
    options = parse(["--model", str(model), "--json", "somewhere.json", "--write"])
    assert options.command == "make bench"
    assert [s.name for s in options.shapes] == ["tldr", "chat", "long"]
    assert options.samples == (0, 1, 2)
    assert options.rounds_of(SHAPES["tldr"], "lora") == 3
    assert options.rounds_of(SHAPES["tldr"], "full") == options.rounds_of(SHAPES["long"], "lora") == 1
    chosen = parse(["--model", str(model), "--k", "0", "--quick"])
    assert chosen.command == "python -m benchmarks --k 0 --quick"


def test_quick_results_are_not_written(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(model), "--quick", "--write"]) == 1
    assert "--write: what --quick measures is not worth keeping" in capsys.readouterr().err


# --- the bound -------------------------------------------------------------------------------------------

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "vocab_size": 10,
}
SIZES = Sizes.of(CONFIG)
STEP = Job("ours", "", prompt=5, completion=3, pairs=2)


def attention_by_counting(prompt: int, completions: int, length: int) -> float:
    """Operations of one pair's forward pass, counted per query and key."""
    seen = sum(t + 1 for t in range(prompt))
    seen += completions * sum(prompt + t + 1 for t in range(length))
    return 2 * 2 * 8 * 3 * seen


def test_sizes_are_those_of_a_real_model(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    real = AutoModelForCausalLM.from_pretrained(model)
    sizes = Sizes.of(json.loads((model / "config.json").read_text()))
    body = sum(p.numel() for name, p in real.named_parameters() if "proj" in name)
    assert sizes.body == body
    assert sizes.head == real.get_output_embeddings().weight.numel()
    adapted = attach_lora(real, rank=3, alpha=1, target_modules="all-linear", seed=0, base_name="tiny")
    assert sizes.adapter(3) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="not for 'gpt2'; give the folder of a llama"):
        Sizes.of({"model_type": "gpt2"})


def test_a_dpo_steps_operations() -> None:
    body, head = SIZES.body, 80
    assert body == 3 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
    work = step_work(SIZES, replace(STEP, tuning="full"), rank=2)
    tokens, scored = 2 * (5 + 2 * 3), 2 * 2 * 3
    attention = 2 * attention_by_counting(5, 2, 3)
    forward = work["forward"].operations
    assert forward == 2 * body * tokens + attention
    assert work["head"].operations == 3 * 2 * head * scored
    assert work["backward"].operations == 2 * forward
    assert set(work) == {"forward", "head", "backward"}


def test_lora_saves_the_weights_gradients() -> None:
    full, lora = (step_work(SIZES, replace(STEP, tuning=t), rank=2) for t in ("full", "lora"))
    tokens = 2 * (5 + 2 * 3)
    assert lora["forward"] == full["forward"]
    assert lora["head"].operations == full["head"].operations * 2 / 3
    saved = full["backward"].operations - lora["backward"].operations
    assert saved == tokens * (2 * SIZES.body - 4 * SIZES.adapter(2))


def test_hypo_adds_completions_reference_and_decoding() -> None:
    dpo, hypo = (step_work(SIZES, replace(STEP, samples=k), rank=2) for k in (0, 2))
    body, head, sampled = SIZES.body, 80, 2 * 2 * 3
    twice = step_work(SIZES, replace(STEP, samples=4), rank=2)
    assert hypo["prefix"] == twice["prefix"]
    more = twice["completions"].operations - hypo["completions"].operations  # two more answers per prompt
    assert dpo["forward"].operations == hypo["prefix"].operations + more
    assert hypo["completions"].operations == 2 * more
    assert hypo["head"].operations == 2 * dpo["head"].operations
    passed = 2 * body * (2 * 5 + sampled) + 2 * head * sampled + 2 * attention_by_counting(5, 2, 3)
    assert hypo["reference"].operations == passed


def test_decoding_reads_weights_and_cache() -> None:
    work = decode_work(SIZES, prompts=2, samples=3, prompt=5, length=4, bytes_per_number=2)
    weights = (SIZES.body + 80) * 2
    token = 2 * 2 * 2 * 3 * 2  # keys and values, two heads of two numbers, three layers, two bytes
    expected = sum(weights + token * (2 * 5 + 6 * position) for position in (1, 2, 3))
    assert work.bytes == expected
    attention = 4 * 8 * 3 * sum(6 * (5 + position) for position in (1, 2, 3))
    assert work.operations == 3 * 6 * 2 * (SIZES.body + 80) + attention


def test_the_bound_is_the_slower_of_arithmetic_and_memory() -> None:
    rates = Rates(operations=100.0, bytes=10.0)
    assert Work(200.0, 10.0).seconds(rates) == 2.0
    assert Work(200.0, 30.0).seconds(rates) == 3.0
    assert bound_seconds({"a": Work(200.0), "b": Work(0.0, 30.0)}, rates) == 5.0


# --- decisions and tables --------------------------------------------------------------------------------


def test_three_standard_errors() -> None:
    assert means_agree((0.0, 3.0), (14.9, 4.0))
    assert not means_agree((0.0, 3.0), (15.1, 4.0))


def run(seconds: list[float], peak: float, reference: float = 0.5) -> dict[str, Any]:
    return {"seconds": seconds, "peak": peak, "loaded": 1e9, "reference_seconds": reference}


def test_medians_over_rounds() -> None:
    summary = summarise([run([1, 1], 2e9), run([2, 30], 3e9), run([5, 5], 9e9)])
    assert summary is not None
    assert (summary.seconds, summary.low, summary.high, summary.peak) == (5, 1, 30, 3e9)
    assert summarise([run([1], 2e9), {"out_of_memory": True}]) is None


@pytest.fixture
def results(job: Job) -> Results:
    found = Results(["make bench"], {"cores": "2"}, models={"tiny": CONFIG})
    tldr = replace(job, prompt=340, completion=33, pairs=4)
    phases = [{"forward": 1.0, "backward": 2.0}]
    for measure, runs in (
        ("ours", [run([2.0], 2e9) | {"phases": phases}]),
        ("trl", [{"out_of_memory": True}]),
        ("trl_tuned", [run([9.0], 5e9)]),
    ):
        found.steps.append(record_of(replace(tldr, measure=measure), "tiny", runs=runs))
    found.agreement.append(record_of(tldr, "tiny", who="ours", difference=3e-6))
    found.rates.append(record_of(tldr, "tiny", operations=1e9, bytes=1e9))
    decode = {"ours": [[1.0, 0.2]], "generate": [[3.0, 0.2]], "difference": 1e-6}
    found.decode.append(
        record_of(replace(job, samples=2), "tiny", means=[[-3.0, 0.1], [-3.1, 0.1]], **decode)
    )
    found.growth.append(record_of(replace(job, prompt=64), "tiny", varied="P", runs=[run([1.0], 3e9)]))
    found.memory.append(record_of(tldr, "tiny", runs=[run([1.0], 4e9)], estimate={"peak": 3.8e9}))
    return found


def test_steps_as_tables(results: Results) -> None:
    text = section_text(results, "steps")
    assert text.startswith("`make bench` on: cores 2.\n")
    assert "| tiny, tldr, lora, DPO | ours | float32 | 2.00 | 2.00..2.00 | 812 | 2.00 | 1.00 | 0.50 |" in text
    assert "| tiny, tldr, lora, DPO | TRL defaults | float32 | out of memory |" in text
    assert "| tiny, tldr, lora, DPO | TRL tuned | float32 | float32 | 4.50 | 0.40 |" in text
    work = step_work(SIZES, replace(STEP, prompt=340, completion=33, pairs=4), rank=16)
    bound = bound_seconds(work, Rates(1e9, 1e9))
    assert f"| 2.00 | {bound:.2f} | {2 / bound:.2f} | 1.00 / {work['forward'].operations / 1e9:.2f} |" in text


def test_the_other_sections_as_tables(results: Results) -> None:
    decode = section_text(results, "decode")
    assert "| tiny, policy with LoRA | float32 | 4 | 20 | 7 | 3.00 | 20 | 6 | 3.50 |" in decode
    assert "| yes |" in decode
    assert "| P = 64 | 148 | 1.00 | 6.76 | 2.00 | 13.51 |" in section_text(results, "growth")
    assert "| 3.80 | 4.00 | -5.0% |" in section_text(results, "memory")
    results.memory.clear()
    assert section_text(results, "memory") == ""


def test_results_tell_no_path_and_come_back(results: Results, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results.save(file)
    assert str(tmp_path) not in file.read_text()
    assert str(Path.home()) not in file.read_text()
    assert Results.load(file) == results


def test_files_are_put_together(results: Results, tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    results.save(one)
    more = replace(results, commands=["make bench ARGS=--k"], steps=results.steps[:1], growth=[])
    more.save(other)
    both = Results.load(one, other)
    assert both.commands == ["make bench", "make bench ARGS=--k"]
    assert both.steps == results.steps + results.steps[:1]
    assert both.growth == results.growth
    assert section_text(both, "memory").startswith("`make bench`, `make bench ARGS=--k` on: cores 2")
    replace(more, machine={"cores": "4"}).save(other)
    with pytest.raises(ValueError, match=r"other\.json was not measured on the machine"):
        Results.load(one, other)


def test_tables_go_between_their_markers(results: Results, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    assert write_page(results, page) == ["steps", "decode", "growth", "memory"]
    once = page.read_text(encoding="utf-8")
    assert "| tiny, tldr, lora, DPO | TRL tuned | float32 | float32 | 4.50 | 0.40 |" in once
    assert once.count("Not measured.") == 7  # on a GPU
    write_page(results, page)
    assert page.read_text(encoding="utf-8") == once
    with pytest.raises(ValueError, match="markers of bench:nothing once, not 0 times"):
        replace_between(once, "nothing", "")
