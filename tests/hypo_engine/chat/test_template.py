"""Chat templates as untrusted input: those that loop, grow, lose text, refuse, or open a thought."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from hypo_engine.chat.template import ChatTemplate, TemplateProcess, TemplateRefusal
from hypo_engine.chat.thinking import leaves_room
from hypo_engine.config import PromptStyle, Thinking
from hypo_engine.data.formats import Pair
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.errors import ModelError
from hypo_engine.models.load import load_tokenizer
from tests.tiny_model import CHAT_TEMPLATE

USER = [{"role": "user", "content": "What is Paris?"}]
TOLD = [{"role": "system", "content": "Be kind."}, *USER]
TALK = [*USER, {"role": "assistant", "content": "A city."}, {"role": "user", "content": "Where?"}]
LIMITS = {"max_prompt_length": 100, "max_completion_length": 100}

QWEN3 = CHAT_TEMPLATE.replace(
    "<|im_start|>assistant\n' }}",
    "<|im_start|>assistant\n' }}{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}",
)
R1 = CHAT_TEMPLATE.replace("<|im_start|>assistant\n'", "<|im_start|>assistant\n<think>\n'")
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = (
    "{{ bos_token }}{% if messages[0]['role']=='system' %}{{ raise_exception('no system role') }}{% endif %}"
    + CHAT_TEMPLATE
)
VARIED = (
    "{%- set ns = namespace(count=0, last='') -%}\n"
    "{% for m in messages %}\n    {% if m.role == 'system' %}{% continue %}{% endif %}\n"
    "    {%- set ns.count = ns.count + 1 -%}{%- set ns.last = m.content | trim -%}\n"
    "[{{ loop.index }}:{{ m['role'] | upper }}] {% generation %}{{ m | tojson }}{% endgeneration %}\n"
    "{{ eos_token }}{% endfor %}{{ ns.count }} {{ dict(a=1) }} {{ tools is none }}"
    "{{ ns.last[::-1] }}"
)
ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "loops in silence": "{% set r = range(99999) | list %}"
    "{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
    "counts for ever": "{{ 10 ** (10 ** 9) }}",
    "multiplies": "{{ 'a' * (10 ** 9) }}",
    "multiplies a list": "{{ ['a'] * (10 ** 9) }}",
    "pads": "{{ 'a' | center(10 ** 9) }}",
    "formats": "{{ '%2000000000d' % 1 }}",
    "doubles": "{% set ns = namespace(s='ab') %}"
    "{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "writes": "{% for i in range(99999) %}{{ 'a lot of text' }}{% endfor %}",
    "replaces": "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "recurses": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
}


@pytest.fixture
def tokenizer(tiny: Callable[[str], Path]) -> Any:
    return load_tokenizer(str(tiny("llama")))


@pytest.fixture(scope="module")
def short() -> TemplateProcess:
    """Lower the limits on time and memory."""
    return TemplateProcess(seconds=1.0, memory=1 << 28)


def with_template(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("turns", [USER, TOLD, TALK])
@pytest.mark.parametrize("template", [CHAT_TEMPLATE, QWEN3, R1, VARIED])
def test_the_text_is_what_transformers_renders(
    tokenizer: Any, short: TemplateProcess, template: str, turns: Sequence[dict[str, str]]
) -> None:
    with_template(tokenizer, template)
    for thinking in (True, False):
        ours = short.render(
            template,
            turns,
            add_generation_prompt=True,
            enable_thinking=thinking,
            bos_token=tokenizer.bos_token,
            eos_token=tokenizer.eos_token,
        )
        theirs = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=thinking
        )
        assert ours == theirs


@pytest.mark.parametrize("how", ENDLESS)
def test_a_template_without_end_is_ended(short: TemplateProcess, how: str) -> None:
    began = perf_counter()
    with pytest.raises(ModelError, match=r"^The model's chat template .*; use prompt_style plain"):
        short.render(ENDLESS[how], USER)
    assert perf_counter() - began < 5
    assert short.render("{{ messages[0]['content'] }}", USER) == "What is Paris?"


def test_a_run_says_so_before_anything_is_trained(tokenizer: Any, short: TemplateProcess) -> None:
    with_template(tokenizer, ENDLESS["loops in silence"] + CHAT_TEMPLATE)
    with pytest.raises(ModelError, match="takes more than 1 seconds for one prompt"):
        ChatTemplate(tokenizer, thinking=False, process=short)


def test_long_conversations_have_room(short: TemplateProcess) -> None:
    turns = [{"role": "user", "content": "word " * 100_000}]
    assert len(short.render(CHAT_TEMPLATE, turns)) > 500_000


def test_the_template_finds_no_secret(short: TemplateProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPO_SECRET", "hunter2")
    short.render("", USER)
    assert short._process is not None
    environment = Path(f"/proc/{short._process.pid}/environ")
    if environment.exists():
        assert environment.read_bytes() == b""
    assert os.environ["HYPO_SECRET"] == "hunter2"
    for attempt in (
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ namespace(_x=1) }}",
    ):
        try:
            said = short.render(attempt, USER)
        except TemplateRefusal:
            continue
        assert said == "", attempt


def test_contents_are_handed_over_as_parts_where_the_template_wants_them(tokenizer: Any) -> None:
    plain = ChatTemplate(tokenizer, thinking=False).render(TALK).text
    tokenization = Tokenization(with_template(tokenizer, PARTS), PromptStyle.AUTO)
    assert tokenization.render(TALK) == plain
    assert tokenization.end_id(TALK) == 2  # <|im_end|>


def test_a_template_that_loses_the_users_text_is_refused(tokenizer: Any) -> None:
    """It would yield empty prompts, and <|im_start|> as the token that ends an answer."""
    lost = CHAT_TEMPLATE.replace("message['content']", "message['text'] | default('')")
    tokenization = Tokenization(with_template(tokenizer, lost), PromptStyle.AUTO)
    with pytest.raises(
        ModelError, match="leaves out what the user says, or alters it; use prompt_style plain"
    ):
        tokenization.render(USER)
    assert tokenization.turn_end_id == tokenizer.eos_token_id
    assert tokenization.render("a plain text") == "a plain text"


@pytest.mark.parametrize("role", ["system", "assistant", "earlier"])
def test_rows_whose_turns_the_template_loses_are_refused(tokenizer: Any, role: str) -> None:
    lost = "not loop.last" if role == "earlier" else f"message['role'] == '{role}'"
    keeps = CHAT_TEMPLATE.replace("message['content']", f"('' if {lost} else message['content'])")
    tokenization = Tokenization(with_template(tokenizer, keeps), PromptStyle.AUTO)
    assert tokenization.render(USER)
    with pytest.raises(TemplateRefusal, match=f"leaves out the {role} turn"):
        tokenization.render(TOLD if role == "system" else TALK)


def test_a_row_that_the_template_refuses_is_left_out_and_counted(tokenizer: Any) -> None:
    pairs = [Pair(TOLD if i == 3 else USER, "Paris.", "No.") for i in range(10)]
    tokenization = Tokenization(with_template(tokenizer, STRICT), PromptStyle.AUTO)
    kept, report = tokenize_pairs(pairs, tokenization, **LIMITS)
    assert [pair.source_index for pair in kept] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert report.refused == 1
    counted = {"num_train_pairs": 9, "num_train_pairs_refused": 1, "num_train_pairs_too_long": 0}
    assert report.counts() == counted
    (sentence,) = report.sentences(100, 100)
    assert sentence.startswith("1 of 10 pairs were left out. The chat template refuses a prompt (no system")


@pytest.mark.parametrize("template", [QWEN3, R1])
def test_thoughts_are_closed_where_the_pairs_hold_none(tokenizer: Any, template: str) -> None:
    pairs = [Pair(USER, "Paris.", "No.")]
    tokenization = Tokenization(with_template(tokenizer, template), PromptStyle.AUTO, thinking=False)
    text = tokenization.render(USER)
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    (pair,), report = tokenize_pairs(pairs, tokenization, **LIMITS)
    whole = tokenizer.decode([*pair.prompt, *pair.chosen])
    assert whole == f"{text}Paris.<|im_end|>"
    assert report.sentences(100, 100) == []


@pytest.mark.parametrize("tag", ["thought", "reflection", "my-scratchpad", "REASONING_trace"])
def test_a_thought_under_another_tag_is_closed(tokenizer: Any, tag: str) -> None:
    template = with_template(tokenizer, R1.replace("<think>", f"<{tag}>"))
    closed = Tokenization(template, PromptStyle.AUTO, thinking=False)
    assert closed.render(USER).endswith(f"<|im_start|>assistant\n<{tag}>\n\n</{tag}>\n\n")
    answers = [f"<{tag}>A city?</{tag}>Yes.", "No."]
    assert leaves_room(Thinking.AUTO, answers[:1])
    opened = Tokenization(template, PromptStyle.AUTO, thinking=True)
    (pair,), report = tokenize_pairs([Pair(USER, *answers)], opened, **LIMITS)
    assert tokenizer.decode([*pair.prompt, *pair.chosen]).count(f"<{tag}>") == 1
    assert report.missing_thoughts == 1


def test_a_tag_of_a_turn_is_no_thought(tokenizer: Any) -> None:
    for tag in ("<assistant>", "<bot>", "<answer>", "<start_of_turn>"):
        template = with_template(tokenizer, R1.replace("<think>", tag))
        assert Tokenization(template, PromptStyle.AUTO).render(USER).endswith(f"{tag}\n")


def test_what_the_user_says_of_thoughts_closes_nothing(tokenizer: Any) -> None:
    asked = [{"role": "user", "content": "What does <think> mean?"}]
    plain = Tokenization(tokenizer, PromptStyle.AUTO).render(asked)
    assert plain.endswith("mean?<|im_end|>\n<|im_start|>assistant\n")


def test_pairs_with_thoughts_keep_them(tokenizer: Any) -> None:
    answers = ["<think>\nA city?\n</think>\n\nYes.", "<think>No.</think>No."]
    assert leaves_room(Thinking.AUTO, answers)
    assert not leaves_room(Thinking.OFF, answers)
    tokenization = Tokenization(with_template(tokenizer, R1), PromptStyle.AUTO, thinking=True)
    (pair,), report = tokenize_pairs([Pair(USER, *answers)], tokenization, **LIMITS)
    whole = tokenizer.decode([*pair.prompt, *pair.chosen])
    assert whole.count("<think>") == 1
    assert whole.endswith("assistant\n<think>\nA city?\n</think>\n\nYes.<|im_end|>")
    assert report.sentences(100, 100) == []
    _, report = tokenize_pairs([Pair(USER, answers[0], "No.")], tokenization, **LIMITS)
    assert report.missing_thoughts == 1
    closed = Tokenization(tokenizer, PromptStyle.AUTO, thinking=False)
    _, report = tokenize_pairs([Pair(USER, *answers)], closed, **LIMITS)
    assert report.stray_thoughts == 1


def test_most_answers_decide(tokenizer: Any) -> None:
    assert not leaves_room(Thinking.AUTO, ["Paris.", "No.", "<think>?</think>Yes."])
    assert leaves_room(Thinking.ON, ["Paris."])
    assert not leaves_room(Thinking.AUTO, [])


def test_every_day_is_the_same_to_a_template(short: TemplateProcess) -> None:
    """Otherwise the same pairs would yield other ids tomorrow, and a run could not be resumed."""
    assert short.render("{{ strftime_now('%d %b %Y, %H:%M') }}", USER) == "26 Jul 2024, 00:00"


def test_a_template_that_cannot_be_read_is_refused_at_once(tokenizer: Any) -> None:
    for broken in ("{% for m in messages %}{{ m.content }}", "{{ messages[0].content", "{{ 'a' | nothing }}"):
        with pytest.raises(
            ModelError, match=r"chat template cannot be read \(Jinja, line 1: .*use prompt_style"
        ):
            ChatTemplate(with_template(tokenizer, broken), thinking=False)


def test_half_a_character_is_refused_in_a_sentence(tokenizer: Any) -> None:
    template = with_template(tokenizer, CHAT_TEMPLATE + "{{ '\\ud800' }}")
    with pytest.raises(ModelError, match="chat template writes half a character, a lone surrogate"):
        ChatTemplate(template, thinking=False)
    half = Tokenization(with_template(tokenizer, CHAT_TEMPLATE), PromptStyle.AUTO)
    pairs = [Pair([{"role": "user", "content": "so \ud800"}], "a", "b"), Pair(USER, "a", "b")]
    kept, report = tokenize_pairs(pairs, half, **LIMITS)
    assert [pair.source_index for pair in kept] == [1]
    assert "(a turn holds half a character, a lone surrogate)" in report.refusal


def test_a_template_that_always_opens_an_answer_names_no_end(tokenizer: Any) -> None:
    """Otherwise answers would be trained to end with <|im_start|>."""
    asked = "{% if add_generation_prompt %}"
    endless = CHAT_TEMPLATE.replace("<|im_end|>", "").replace(asked, "{% if true %}")
    assert Tokenization(with_template(tokenizer, endless), PromptStyle.AUTO).end_id(USER) == (
        tokenizer.eos_token_id
    )
    ended = CHAT_TEMPLATE.replace(asked, "{% if true %}")
    assert Tokenization(with_template(tokenizer, ended), PromptStyle.AUTO).end_id(USER) == 2  # <|im_end|>
