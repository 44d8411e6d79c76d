"""Chat templates: rendered in a child process with limits, and checked before they are trusted.

A template that loops, grows or loses text must not hold a worker, nor train a model on empty prompts. Every
rendering has a time limit, a length limit and a memory limit. Before the first prompt, a marked text is
rendered in every role and looked for in the result.
"""

import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hypo_engine.chat.thinking import close_thought, opened_thought
from hypo_engine.errors import DataError, ModelError

SECONDS: Final = 10.0
"""Time for one prompt; usual templates take less than a millisecond."""

MEMORY: Final = 1 << 30
"""Bytes of address space that the rendering process may have."""

LENGTH: Final = (200_000, 8)
"""A rendered prompt may have so many characters, and so many for each character of its turns."""

_START_SECONDS: Final = 60.0
_PLAIN = "use prompt_style plain, or another model"
_MARKS = {role: f"marked-{role}-text" for role in ("system", "earlier", "assistant", "user")}
"""What is rendered and looked for: in a turn of each role, and in a user's turn that is not the last."""


class TemplateRefusal(DataError):
    """The template refuses a prompt; others may be well."""


class TemplateProcess:
    """The process that renders. It starts when first asked, and again after it was killed."""

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._end: Callable[[], object] = lambda: None

    def render(self, template: str, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """A conversation as one text.

        Args:
            variables: What the template may ask for besides the messages, as JSON values.

        Raises:
            TemplateRefusal: the template raises an error for these messages.
            ModelError: it takes too long, too much memory or writes too much.
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
                start_new_session=True,  # Ctrl-C is for the parent, whose pipe ends this process
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
        """A line of the process's output; None after so many seconds, and what there is at its end."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else None

    def _stop(self) -> None:
        self._end()
        self._process = None


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() == owner:  # not in a process forked from it
        with process:
            process.kill()


_shared = TemplateProcess()


class ChatTemplate:
    """A tokenizer's chat template, checked.

    Attributes:
        thinking: Whether prompts leave room for thoughts; else what the template opens is closed.
        after: What the template writes after an answer; "" where that is not known.
        can_think: Whether prompts that leave room for thoughts differ from those that leave none.
        opened: The mark of a thought that prompts leave open; "" where they leave none.
    """

    def __init__(self, tokenizer: Any, *, thinking: bool, process: TemplateProcess = _shared) -> None:
        """Raises ModelError when the template loses the user's text or cannot be rendered."""
        self.thinking, self._process = thinking, process
        self._template = _default_template(tokenizer)
        special = tokenizer.special_tokens_map.items()
        self._variables = {name: token for name, token in special if isinstance(token, str)}
        self._as_parts = False
        self._lost: set[str] = set()
        self.after = self._check()
        self._tail, mark = self._opened_thought()
        self.opened = mark if thinking else ""
        self.can_think = bool(mark) or self._heeds_thinking()
        self._closing = close_thought(mark) if mark else ""

    def render(self, turns: Sequence[Mapping[str, str]]) -> str:
        """A prompt up to where the answer begins.

        Raises:
            TemplateRefusal: the template refuses these turns, or leaves some of them out.
            ModelError: it takes too long, or grows without end.
        """
        if lost := self._lost.intersection(_MARKS[role] for role in _roles(turns)):
            role = next(role for role, mark in _MARKS.items() if mark in lost)
            raise TemplateRefusal(f"The chat template leaves out the {role} turn of a prompt; {_PLAIN}.")
        text = self._render(turns, prompt=True)
        if self.thinking or not (self._tail and text.endswith(self._tail)):
            return text
        return text.rstrip() + self._closing

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

    def _check(self) -> str:
        """Find out how contents are handed over and which roles are lost; returns what follows an answer."""
        asked = [_marked("user")]
        found = self._try(asked)
        if found is None or _MARKS["user"] not in found:
            self._as_parts = True
            in_parts = self._try(asked)
            if in_parts is None or _MARKS["user"] not in in_parts:
                self._as_parts = False
                if found is None:
                    return ""  # it refuses such a prompt, and may take others
                raise ModelError(f"The model's chat template leaves out what the user says; {_PLAIN}.")
        told, talked = [_marked("system"), *asked], [_marked("earlier"), _marked("assistant"), *asked]
        for turns in (told, talked):
            text = self._try(turns)
            if text is not None:
                self._lost |= {turn["content"] for turn in turns if turn["content"] not in text}
        whole = self._try([*asked, _marked("assistant")], prompt=False) or ""
        _, there, after = whole.rpartition(_MARKS["assistant"])
        return after if there else ""

    def _try(self, turns: Sequence[Mapping[str, str]], *, prompt: bool = True) -> str | None:
        try:
            return self._render(turns, prompt=prompt)
        except TemplateRefusal:
            return None

    def _heeds_thinking(self) -> bool:
        try:
            off, on = (self._render([_marked("user")], prompt=True, thinking=on) for on in (False, True))
        except TemplateRefusal:
            return False
        return off != on

    def _opened_thought(self) -> tuple[str, str]:
        """What follows the user's text if the template opens a thought there, and the thought's mark."""
        tail = (self._try([_marked("user")]) or "").rpartition(_MARKS["user"])[2]
        mark = opened_thought(tail)
        return (tail, mark) if mark else ("", "")


def _marked(name: str) -> dict[str, str]:
    return {"role": "user" if name == "earlier" else name, "content": _MARKS[name]}


def _roles(turns: Sequence[Mapping[str, str]]) -> list[str]:
    """The names in ``_MARKS`` of a prompt's turns; the last one is the user's."""
    return ["earlier" if turn["role"] == "user" else turn["role"] for turn in turns[:-1]]


def _default_template(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except Exception as error:  # several templates and none called default
        raise ModelError(f"The tokenizer has no chat template called default; {_PLAIN}.") from error
