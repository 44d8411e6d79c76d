"""Messages appear in the prompt: templates that alter, cut or drop text, in all rows or some."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypo_engine.chat.standing import HARD, standing
from hypo_engine.chat.template import ChatTemplate, TemplateRefusal
from hypo_engine.config import PromptStyle
from hypo_engine.data.formats import Pair
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.errors import ModelError
from hypo_engine.models.load import load_tokenizer
from tests.hypo_engine.chat.test_template import LIMITS, TALK, TOLD, USER, with_template
from tests.tiny_model import CHAT_TEMPLATE

CONTENT = "message['content']"
STRICT = "{% if messages[0].role != 'system' %}{{ raise_exception('a system turn comes first') }}{% endif %}"
MISTRAL = (
    "{{ bos_token }}{% set first = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}"
    "{% if m.role == 'user' %}[INST] {{ first ~ '\n\n' if loop.last and first }}{{ m.content | trim }}[/INST]"
    "{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)


def say(*texts: str, told: str = "") -> list[dict[str, str]]:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return [{"role": "system", "content": told}, *turns] if told else turns


SEVEN = say(
    "Who?", "A man.", "Which man?", "A tall one.", "How tall?", "Two metres.", "Where?", told="Be kind."
)


@pytest.fixture
def tokenizer(tiny: Callable[[str], Path]) -> Any:
    return load_tokenizer(str(tiny("llama")))


def altered(tokenizer: Any, content: str, otherwise: str = "false") -> Tokenization:
    """A template that writes ``content`` instead of a turn's text, except for turns that are kept."""
    said = f"({CONTENT} if {otherwise} else {content})"
    return Tokenization(with_template(tokenizer, CHAT_TEMPLATE.replace(CONTENT, said)), PromptStyle.AUTO)


@pytest.mark.parametrize(
    ("how", "hard"),
    [
        ("|lower", "capital letters"),
        ("|capitalize", "capital letters"),
        ("|striptags", "markup"),
        ("|e", "markup"),
        (".split('\n')[0]", "several lines"),
        ("|replace('\n', ' ')", "several lines"),
        (".split()|join(' ')", "several lines"),
        (".encode('ascii', 'ignore').decode()", "letters beyond ASCII"),
        ("|truncate(4000)", "a long text"),
        ("[:4000]", "a long text"),
        ("[-4000:]", "a long text"),
    ],
)
def test_a_template_that_alters_the_users_text_is_refused(tokenizer: Any, how: str, hard: str) -> None:
    with pytest.raises(ModelError, match=rf"alters or cuts what the user says \({hard}\); use prompt_style"):
        altered(tokenizer, CONTENT + how).render(USER)
    assert len(HARD["a long text"]) > 4000


def test_a_template_that_writes_all_in_capitals_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="leaves out what the user says, or alters it; use prompt_style"):
        altered(tokenizer, CONTENT + "|upper").render(USER)


def test_white_space_at_the_ends_of_a_turn_may_go(tokenizer: Any) -> None:
    text = altered(tokenizer, CONTENT + "|trim").render(say("  Where\n is it? \n"))
    assert text == "<|im_start|>user\nWhere\n is it?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("role", ["system", "assistant"])
@pytest.mark.parametrize("how", ["|lower", "[:5]"])
def test_rows_with_an_altered_turn_are_left_out_and_counted(tokenizer: Any, role: str, how: str) -> None:
    tokenization = altered(tokenizer, CONTENT + how, f"message.role != '{role}'")
    prompts = [USER, TOLD, TALK]
    kept, report = tokenize_pairs([Pair(p, "Yes.", "No.") for p in prompts], tokenization, **LIMITS)
    assert [pair.source_index for pair in kept] == ([0, 2] if role == "system" else [0, 1])
    assert report.refused == 1
    assert f"leaves out the {role} turn of a prompt, or alters it; use prompt_style plain" in report.refusal


def test_rows_that_are_cut_further_than_the_first_check_looks_are_left_out(tokenizer: Any) -> None:
    tokenization = altered(tokenizer, CONTENT + "[:20000]")
    assert tokenization.render(USER)
    with pytest.raises(TemplateRefusal, match="leaves out the user turn"):
        tokenization.render(say("a long word " * 2000))


@pytest.mark.parametrize(
    ("kept", "lost"), [("messages[-4:]", "system"), ("messages[:1] + messages[-4:]", "earlier")]
)
def test_early_turns_of_a_long_conversation_are_missed(tokenizer: Any, kept: str, lost: str) -> None:
    with_template(tokenizer, CHAT_TEMPLATE.replace("in messages", f"in {kept}"))
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    assert all(tokenization.render(turns) for turns in (USER, TOLD, TALK))
    with pytest.raises(TemplateRefusal, match=f"leaves out the {lost} turn"):
        tokenization.render(SEVEN)


def test_a_lost_turn_is_missed_though_its_words_stand_elsewhere(tokenizer: Any) -> None:
    some = "(messages if messages|length < 3 else messages[1:])"
    with_template(tokenizer, CHAT_TEMPLATE.replace("in messages", f"in {some}"))
    with pytest.raises(TemplateRefusal, match="leaves out the system turn"):
        Tokenization(tokenizer, PromptStyle.AUTO).render(say("user", "s", "user", told="user"))


def test_turns_in_another_order_are_refused(tokenizer: Any) -> None:
    with_template(tokenizer, CHAT_TEMPLATE.replace("in messages", "in messages|reverse"))
    with pytest.raises(TemplateRefusal):
        Tokenization(tokenizer, PromptStyle.AUTO).render(TALK)


def test_a_system_turn_may_stand_before_the_last_question(tokenizer: Any) -> None:
    text = ChatTemplate(with_template(tokenizer, MISTRAL), thinking=False).render(SEVEN).text
    eos = tokenizer.eos_token
    assert text.endswith(f" Two metres.{eos}[INST] Be kind.\n\nWhere?[/INST]")


def test_thoughts_of_earlier_answers_may_go(tokenizer: Any) -> None:
    tokenization = altered(
        tokenizer, f"{CONTENT}.split('</think>')[-1].lstrip('\n')", "message.role == 'user'"
    )
    turns = say("Who?", "<think>\nHm.\n</think>\n\nA man.", "Where?")
    assert "assistant\nA man.<|im_end|>" in tokenization.render(turns)


def test_what_a_template_heeds_may_go() -> None:
    assert standing(say("Who? /no_think", told="/think Be kind."), "Be kind. | Who? |").lost == ""
    assert standing(say("Who?", told="Be kind."), "Be | Who?").lost == "system"
    assert standing(say("a", "b", "a"), "a b").lost == "user"


def test_a_template_that_wants_a_system_turn_is_checked_with_one(tokenizer: Any) -> None:
    """Without the check a run would train on empty prompts."""
    parts = CHAT_TEMPLATE.replace(CONTENT, f"{CONTENT}[0]['text']|default('')")
    with_template(tokenizer, STRICT + parts)
    tokenization = Tokenization(tokenizer, PromptStyle.AUTO)
    assert tokenization.render(TOLD) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhat is Paris?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenization.end_id(TOLD) == 2  # <|im_end|>
    with pytest.raises(TemplateRefusal, match="a system turn comes first"):
        tokenization.render(USER)
    for wrong in (CHAT_TEMPLATE.replace(CONTENT, "''"), CHAT_TEMPLATE.replace(CONTENT, CONTENT + "|lower")):
        with pytest.raises(ModelError, match="what the user says"):
            ChatTemplate(with_template(tokenizer, STRICT + wrong), thinking=False)


@pytest.mark.parametrize(
    "tail",
    [
        "{% if messages[0].role == 'system' %}<think>\n{% endif %}",
        "{% if messages|length > 1 %}<think>\n{% endif %}",
        "{{ messages|length }}<think>\n",
        "{{ messages[-1].content[:4] }}<think>\n",
        "{{ strftime_now('%H:%M') }}<think>\n",
    ],
)
@pytest.mark.parametrize("wants", ["", STRICT])
def test_an_open_thought_is_found_in_every_prompt(tokenizer: Any, tail: str, wants: str) -> None:
    with_template(tokenizer, wants + CHAT_TEMPLATE + tail)
    closed = Tokenization(tokenizer, PromptStyle.AUTO, thinking=False)
    assert closed.render(TOLD).endswith("<think>\n\n</think>\n\n")
    pairs = [Pair(TOLD, "<think>Hm.</think>Yes.", "No.")]
    (pair,), report = tokenize_pairs(
        pairs, Tokenization(tokenizer, PromptStyle.AUTO, thinking=True), **LIMITS
    )
    assert tokenizer.decode([*pair.prompt, *pair.chosen]).count("<think>") == 1
    assert report.missing_thoughts == 1
    _, report = tokenize_pairs(pairs, closed, **LIMITS)
    assert report.stray_thoughts == 1


@pytest.mark.parametrize(
    ("mark", "closing"),
    [
        ("◁think▷", "◁/think▷"),
        ("<|thinking|>", "<|/thinking|>"),
        ("<|start_think|>", "<|end_think|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ],
)
def test_marks_of_thoughts_that_are_no_plain_tags(tokenizer: Any, mark: str, closing: str) -> None:
    with_template(tokenizer, CHAT_TEMPLATE + mark)
    assert Tokenization(tokenizer, PromptStyle.AUTO).render(USER).endswith(f"{mark}\n\n{closing}\n\n")
    with_template(tokenizer, CHAT_TEMPLATE + mark + closing)
    assert Tokenization(tokenizer, PromptStyle.AUTO).render(USER).endswith(f"assistant\n{mark}{closing}")


def test_a_thought_within_a_thought_is_closed_with_it(tokenizer: Any) -> None:
    ends = {
        "<think><reflect>": "<think><reflect>\n\n</reflect>\n\n</think>\n\n",
        "<think><reflect>0</reflect>": "<think><reflect>0</reflect>\n\n</think>\n\n",
        "<think><reflect>0</reflect></think>": "<think><reflect>0</reflect></think>",
    }
    for tail, end in ends.items():
        with_template(tokenizer, CHAT_TEMPLATE + tail)
        assert Tokenization(tokenizer, PromptStyle.AUTO).render(USER).endswith(f"assistant\n{end}")


@pytest.mark.parametrize("said", ["think", "t", "<think>", "What does <think> mean?", "is <think>"])
def test_the_users_words_are_no_thought_and_hide_none(tokenizer: Any, said: str) -> None:
    plain = Tokenization(tokenizer, PromptStyle.AUTO).render(say(said, told="Say <think> first."))
    assert plain.endswith(f"{said}<|im_end|>\n<|im_start|>assistant\n")
    with_template(tokenizer, CHAT_TEMPLATE + "<think>\n")
    opened = Tokenization(tokenizer, PromptStyle.AUTO).render(say(said, told="Say <think> first."))
    assert opened.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
