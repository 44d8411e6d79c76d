"""Chat templates: rendered in a child process with limits, and checked before use.

A template that loops, grows or loses text must neither block a worker nor train a model on empty prompts.
Every rendering has a time limit, a length limit and a memory limit. Before the first prompt, texts that are
prone to be lost are rendered and searched for in the result. Every prompt is searched for all of its turns.
"""

import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hypo_engine.chat.standing import HARD, marked, standing
from hypo_engine.chat.thinking import close_thought, opened_thought
from hypo_engine.errors import DataError, ModelError

SECONDS: Final = 10.0
"""Time limit of one prompt; common templates take less than a millisecond."""

MEMORY: Final = 1 << 30
"""Address space limit of the rendering process, in bytes."""

LENGTH: Final = (200_000, 8)
"""Length limit of a rendered prompt in characters: a constant, and a factor of the length of its turns."""

MOST_THOUGHTS: Final = 8
"""The most nested open thoughts that are closed in a prompt."""

_START_SECONDS: Final = 60.0
_PLAIN = "use prompt_style plain, or another model"


class TemplateRefusal(DataError):
    """The template rejects one prompt; others may be fine."""


class TemplateProcess:
    """The rendering process; it starts on first use, and again after it was killed."""

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._end: Callable[[], object] = lambda: None

    def render(self, template: str, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """A conversation as one text.

        Args:
            variables: Further template variables, as JSON values.

        Raises:
            TemplateRefusal: the template raises an error for these messages.
            ModelError: it exceeds the limit of time, memory or length.
        """
        said = json.dumps(messages)
        limit = LENGTH[0] + LENGTH[1] * len(said)
        request = {"template": template, "messages": messages, "variables": variables, "limit": limit}
        with self._lock:
            answer = self._ask(json.dumps(request).encode() + b"\n")
        if "text" in answer:
            return str(answer["text"])
        if "refused" in answer:
            reason = " ".join(str(answer["refused"]).split())[:200]
            raise TemplateRefusal(
                f"The chat template refuses a prompt ({reason}); use prompt_style plain, "
                "or give turns in the order the template wants."
            )
        raise ModelError(f"The model's chat template {answer['unusable']}; {_PLAIN}.")

    def _ask(self, request: bytes) -> Mapping[str, Any]:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = self._line(process, self._seconds)
        except BrokenPipeError:
            line = b""
        if line is None:
            self._stop()
            return {"unusable": f"takes more than {self._seconds:g} seconds for one prompt"}
        if not line.endswith(b"\n"):
            self._stop()
            return {"unusable": "ended the process that renders it"}
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            script = Path(__file__).with_name("template_process.py")
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(script), json.dumps(sys.path), str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,  # Ctrl-C goes to the parent, whose exit ends this one
            )
            self._end = weakref.finalize(self, _end, self._process, os.getpid())
            assert self._process.stdin is not None
            hello = {"template": "", "messages": [], "variables": {}, "limit": 0}
            self._process.stdin.write(json.dumps(hello).encode() + b"\n")
            self._process.stdin.flush()
            if not self._line(self._process, _START_SECONDS):
                self._stop()
                raise ModelError("The process that renders chat templates does not start; see the log.")
        return self._process

    @staticmethod
    def _line(process: "subprocess.Popen[bytes]", seconds: float) -> bytes | None:
        """A line of the process's output; None on timeout, and a partial line at the end of the output."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else None

    def _stop(self) -> None:
        self._end()
        self._process = None


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() == owner:  # not in a forked process
        with process:
            process.kill()


_shared = TemplateProcess()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt up to the start of the answer, and the tag of a thought that it leaves open, or ""."""

    text: str
    opened: str = ""


class ChatTemplate:
    """A tokenizer's chat template, checked before use.

    Attributes:
        thinking: Whether prompts leave thinking to the model; otherwise a thought that the template opens is
            closed.
        after: What the template writes after an answer; "" if that cannot be determined.
        before: What it writes before the first turn, if it opens an answer after every turn regardless of the
            generation prompt.
        can_think: Whether prompts with thinking differ from prompts without.
    """

    def __init__(self, tokenizer: Any, *, thinking: bool, process: TemplateProcess = _shared) -> None:
        """Raises ModelError if the template loses or alters the user's text, or cannot be rendered."""
        self.thinking, self._process = thinking, process
        self._template = _default_template(tokenizer)
        special = tokenizer.special_tokens_map.items()
        self._variables = {name: token for name, token in special if isinstance(token, str)}
        self._as_parts = False
        self._lost: dict[tuple[str, ...], str] = {}
        self._first = self._first_turns()
        self._check_hard_texts()
        self.before, self.after = self._around()
        asked = marked([*self._first, "user"])
        self.can_think = bool(self._opened(asked, self._try(asked) or "")) or self._heeds_thinking(asked)

    def render(self, turns: Sequence[Mapping[str, str]]) -> Rendered:
        """Render a prompt up to the start of the answer.

        Raises:
            TemplateRefusal: the template rejects these turns, or drops or alters some of them.
            ModelError: it exceeds the limit of time or length.
        """
        lost = self._loses(tuple(turn["role"] for turn in turns))
        text = "" if lost else self._render(turns, prompt=True)
        if lost or (lost := standing(turns, text).lost):
            raise TemplateRefusal(
                f"The chat template leaves out the {lost} turn of a prompt, or alters it; {_PLAIN}."
            )
        mark = self._opened(turns, text)
        self.can_think = self.can_think or bool(mark)
        if self.thinking:
            return Rendered(text, mark)
        for _ in range(MOST_THOUGHTS):  # they may be nested
            if not mark:
                break
            text = text.rstrip() + close_thought(mark)
            mark = self._opened(turns, text)
        return Rendered(text, mark)

    def _render(
        self, turns: Sequence[Mapping[str, str]], *, prompt: bool, thinking: bool | None = None
    ) -> str:
        messages: list[dict[str, Any]] = [dict(turn) for turn in turns]
        if self._as_parts:
            messages = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in messages]
        on = self.thinking if thinking is None else thinking
        return self._process.render(
            self._template,
            messages,
            add_generation_prompt=prompt,
            enable_thinking=on,  # Qwen3, SmolLM3, GLM, ...
            thinking=on,  # DeepSeek, Granite
            **self._variables,
        )

    def _try(self, turns: Sequence[Mapping[str, str]], *, prompt: bool = True) -> str | None:
        try:
            return self._render(turns, prompt=prompt)
        except TemplateRefusal:
            return None

    def _first_turns(self) -> list[str]:
        """The roles that must precede a question. Also determines how contents are passed to the template."""
        for first in ([], ["system"]):
            asked = marked([*first, "user"])
            rendered = False
            for self._as_parts in (False, True):
                text = self._try(asked)
                if text is not None and asked[-1]["content"] in text:
                    return first
                rendered = rendered or text is not None
            self._as_parts = False
            if rendered:
                raise ModelError(
                    f"The model's chat template leaves out what the user says, or alters it; {_PLAIN}."
                )
        return []  # it rejects such prompts but may accept others

    def _check_hard_texts(self) -> None:
        for hard, said in HARD.items():
            text = self._try([*marked(self._first), {"role": "user", "content": said}])
            if text is not None and said not in text:
                raise ModelError(
                    f"The model's chat template alters or cuts what the user says ({hard}); {_PLAIN}."
                )

    def _loses(self, roles: tuple[str, ...]) -> str:
        """The turn that the template always loses in conversations with these roles; "" if none."""
        if roles not in self._lost:
            turns = marked(roles)
            text = self._try(turns)
            self._lost[roles] = "" if text is None else standing(turns, text).lost
        return self._lost[roles]

    def _around(self) -> tuple[str, str]:
        """What precedes the first turn if answers are always opened, and what follows an answer."""
        answered = marked([*self._first, "user", "assistant"])
        whole = self._try(answered, prompt=False) or ""
        _, there, after = whole.rpartition(answered[-1]["content"])
        if not there:
            return "", ""
        if self._try(answered) != whole:
            return "", after
        told = marked(["system", "user"])
        text = self._try(told) or ""
        first, text = (told[0], text) if told[0]["content"] in text else (answered[0], whole)
        return text.partition(first["content"])[0], after

    def _heeds_thinking(self, asked: Sequence[Mapping[str, str]]) -> bool:
        try:
            off, on = (self._render(asked, prompt=True, thinking=on) for on in (False, True))
        except TemplateRefusal:
            return False
        return off != on

    @staticmethod
    def _opened(turns: Sequence[Mapping[str, str]], text: str) -> str:
        """The tag of a thought that the template opens after the last turn."""
        return opened_thought(text[standing(turns, text).end :], turns[-1]["content"].strip())


def _default_template(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except Exception as error:  # several templates, none of which is called default
        raise ModelError(f"The tokenizer has no chat template called default; {_PLAIN}.") from error
