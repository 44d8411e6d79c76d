"""Cases for every operation in the REST API's schema, over HTTP, with a bearer token, on the whole web app.

A new address that only reads needs no entry. The requests of writing addresses are defined in `WRITES`; a
missing entry stops the benchmark.
"""

import gc
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from typing import Any

import httpx
import uvicorn

from app import main
from app.rest import application
from app.settings import get_settings
from app.store import generations, run_transitions, runs, tokens
from app.store.db import write_session
from app.store.enums import GenerationKind
from app.store.generations import TrainingSample
from benchmarks.app import campaign
from benchmarks.app.case import ANY, USER, VOTE, Case
from benchmarks.app.fill import Filled
from benchmarks.app.requests import READS, WRITES

SKIPPED = {
    "add_dataset_from_hub": "asks another server",
    "export_run": "takes as long as the weights are large",
}
_LIMITS = {"vote": VOTE, "vote_on_slot": VOTE, "show_all_names": ANY, "list_leaks": ANY, "export_leaks": ANY}
"""Limits that differ from a page's. All names are shown once per user; leaks are searched in all pairs."""

_PAIRS = b'{"prompt": "Say yes.", "chosen": "Yes.", "rejected": "No."}\n' * 50
_FIRST_PIECE = {"export_votes", "export_metrics", "export_board", "export_campaign_board"}
"""Operations that stream a generated file, for which the time to the first piece is measured."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An address and method in the API's schema."""

    name: str
    method: str
    path: str

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"


def operations() -> list[Operation]:
    """All operations in the API's schema except the skipped ones, with the schema and its page."""
    api = application.build(get_settings())
    known = [
        Operation(said["operationId"], method.upper(), path)
        for path, methods in api.openapi()["paths"].items()
        for method, said in methods.items()
    ]
    order = {"GET": 0, "POST": 1, "PUT": 2, "PATCH": 3, "DELETE": 4}
    known.sort(key=lambda operation: order[operation.method])
    pages = [Operation("schema", "GET", "/openapi.json"), Operation("page", "GET", "/docs")]
    return pages + [operation for operation in known if operation.name not in SKIPPED]


@contextmanager
def served() -> Iterator[str]:
    """Serve the web app in a thread, so its locks are visible, and yield the API's address."""
    server = uvicorn.Server(uvicorn.Config(main.build(), host="127.0.0.1", port=0, log_level="error"))
    main.settle()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{application.PREFIX}"
    finally:
        server.should_exit = True
        thread.join()
        gc.unfreeze()


@contextmanager
def calls(filled: Filled) -> Iterator[list[Case]]:
    """Yield one case per operation."""
    with write_session() as session:
        token = tokens.create(USER, session=session, label="benchmark")[1]
    headers = {"Authorization": f"Bearer {token}"}
    with served() as url, httpx.Client(base_url=url, headers=headers, timeout=600) as client:
        caller = _Caller(filled, client)
        yield [caller.case(operation) for operation in operations()]


@dataclass
class _Caller:
    """Makes calls. Rows that a call consumes are created before each call and outside the measured time."""

    filled: Filled
    client: httpx.Client
    _numbers: Iterator[int] = field(default_factory=partial(count, 1))
    _comparisons: Iterator[int] = field(init=False)
    _unvoted: Iterator[int] = field(init=False)
    _next: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._comparisons = iter(self.filled.for_calls)
        self._unvoted = iter(self.filled.unvoted)

    def case(self, operation: Operation) -> Case:
        prepare = WRITES.get(operation.name) if operation.method != "GET" else READS.get(operation.name)
        if prepare is None and operation.method != "GET":
            raise LookupError(f"No call for {operation.title}: say in {__name__} what is sent to it.")

        def before() -> None:
            self._next = {**self._usual(), **(prepare(self) if prepare is not None else {})}

        call = partial(self._begin if operation.name in _FIRST_PIECE else self._call, operation)
        return Case(operation.title, call, _LIMITS.get(operation.name, 0.2), before)

    def _usual(self) -> dict[str, Any]:
        filled = self.filled
        return {
            "run_id": filled.longest_run,
            "comparison_id": filled.comparison,
            "conversation_id": filled.conversation,
            "dataset": str(filled.dataset),
            "letter": "A",
            "vote_id": 1,
        }

    def _request(self, operation: Operation) -> tuple[str, str, dict[str, Any]]:
        values, sent = dict(self._next), dict[str, Any]()
        for name in ("json", "data", "files", "params"):
            if name in values:
                sent[name] = values.pop(name)
        path = re.sub(r"{(\w+)}", lambda found: str(values[found[1]]), operation.path)
        return operation.method, path, sent

    def _call(self, operation: Operation) -> httpx.Response:
        method, path, sent = self._request(operation)
        return _checked(self.client.request(method, path, **sent))

    def _begin(self, operation: Operation) -> None:
        method, path, sent = self._request(operation)
        with self.client.stream(method, path, **sent) as answer:
            if not next(_checked(answer).iter_raw()):
                raise RuntimeError(f"{operation.title} began with nothing.")

    # preconditions of calls

    def two_samples(self) -> list[int]:
        """Two samples of a run with the same prompt."""
        kind, run = GenerationKind.EVAL, self.filled.longest_run
        made = [TrainingSample(kind, 1, "Which?", text, 1, 1, True, -1.0, -2.0) for text in ("one", "two")]
        with write_session() as session:
            generations.record_samples(run, made, session=session)
            found = generations.newest_of_run(run, session=session, kind=kind, limit=2)
        return [sample.id for sample in found]

    def new_run(self) -> int:
        """Create a queued run."""
        with write_session() as session:
            like = runs.get(self.filled.usual_run, session=session)
            return runs.create(
                session=session, name="made", config=like.config, dataset_id=self.filled.dataset
            ).id

    def cancelled_run(self) -> int:
        run_id = self.new_run()
        with write_session() as session:
            run_transitions.request_cancel(run_id, session=session)
        return run_id

    def comparison(self) -> int:
        """An unused comparison of two answers, without a vote of the user in this benchmark."""
        return next(self._comparisons)

    def unvoted(self) -> int:
        """A comparison without votes and without regenerated answers."""
        return next(self._unvoted)

    def voted(self) -> dict[str, Any]:
        """Vote on such a comparison and return the ids."""
        comparison = self.comparison()
        answer = self.client.put(f"/comparisons/{comparison}/vote", json={"choice": "A"})
        return {"comparison_id": comparison, "vote_id": _checked(answer).json()["id"]}

    @cached_property
    def campaign_id(self) -> int:
        """A campaign of two runs with many comparisons to judge."""
        return campaign.ready((1, self.filled.longest_run), USER)

    def released(self) -> dict[str, Any]:
        """Give back the slots that this user holds."""
        _checked(self.client.delete(f"/campaigns/{self.campaign_id}/slots"))
        return {"campaign_id": self.campaign_id}

    def slot(self) -> dict[str, Any]:
        """Take a comparison of the campaign."""
        taken = _checked(self.client.post(f"/campaigns/{self.campaign_id}/slots?count=1")).json()
        return {"campaign_id": self.campaign_id, "slot_id": taken["slots"][0]["id"]}

    def voted_slot(self) -> dict[str, Any]:
        """Take a comparison of the campaign, and vote."""
        taken = self.slot()
        _checked(self.client.put(f"/slots/{taken['slot_id']}/vote", json={"choice": "A"}))
        return taken

    @cached_property
    def read_disagreement(self) -> dict[str, Any]:
        """A disagreement for the reading calls, which come before those that show names."""
        return self.disagreement()

    @cached_property
    def blind_disagreement(self) -> dict[str, Any]:
        """A disagreement for the calls after those that show names."""
        return self.disagreement()

    def disagreement(self) -> dict[str, Any]:
        """A comparison on which the voters of a new campaign differ."""
        campaign_id = campaign.disputed((1, self.filled.longest_run), USER)
        found = _checked(self.client.get(f"/campaigns/{campaign_id}/disagreements")).json()
        return {"campaign_id": campaign_id, "number": found[0]["number"]}

    def decided(self) -> dict[str, Any]:
        """Decide that comparison."""
        found = self.blind_disagreement
        address = f"/campaigns/{found['campaign_id']}/disagreements/{found['number']}/verdict"
        _checked(self.client.put(address, json={"choice": "A"}))
        return found

    def written_campaign(self) -> int:
        """A small campaign whose answers are written."""
        return campaign.ready((1, self.filled.longest_run), USER, prompts=10)

    def new_judge(self) -> dict[str, Any]:
        """Let a scorer judge a new campaign whose names this user has seen."""
        campaign_id = self.written_campaign()
        _checked(self.client.post(f"/campaigns/{campaign_id}/names"))
        answer = self.client.post(f"/campaigns/{campaign_id}/judges", json={"scorer": "length"})
        return {"campaign_id": campaign_id, "judge_id": _checked(answer).json()["id"]}

    @cached_property
    def judge(self) -> dict[str, Any]:
        return self.new_judge()

    def stopped_judge(self) -> dict[str, Any]:
        found = self.new_judge()
        _checked(self.client.post(f"/judges/{found['judge_id']}/stop"))
        return found

    @cached_property
    def run_judge(self) -> dict[str, Any]:
        return self.new_run_judge()

    def new_run_judge(self) -> dict[str, Any]:
        """Let a scorer judge the evaluations of a new run."""
        answer = self.client.post(f"/runs/{self.new_run()}/judges", json={"scorer": "length"})
        return {"judge_id": _checked(answer).json()["id"]}

    def text_to_score(self) -> dict[str, Any]:
        return {"prompt": self.question()["prompt"], "text": "Yes.", "run_ids": [self.filled.longest_run]}

    def scored_text(self) -> dict[str, Any]:
        """Queue the scoring of a text."""
        made = _checked(self.client.post("/scored-texts", json=self.text_to_score()))
        return {"scored_text_id": made.json()["id"]}

    def report_body(self) -> dict[str, Any]:
        return {"run_ids": [self.filled.usual_run, self.filled.longest_run], "question": "Which?"}

    @cached_property
    def report(self) -> dict[str, Any]:
        return self.new_report()

    def new_report(self) -> dict[str, Any]:
        """Create a report of two runs."""
        return {"report_id": _checked(self.client.post("/reports", json=self.report_body())).json()["id"]}

    def queued_scoring(self) -> dict[str, Any]:
        """Queue the scoring of a new dataset."""
        address = f"/datasets/{self.new_dataset()}/scorings"
        made = _checked(self.client.post(address, json={"run_id": self.filled.usual_run}))
        return {"scoring_id": made.json()["id"]}

    def new_dataset(self) -> str:
        answer = self.client.post("/datasets", **self.upload())
        return str(_checked(answer).json()["id"])

    def upload(self) -> dict[str, Any]:
        name = f"made-{next(self._numbers)}"
        return {"data": {"name": name, "held_out": "0"}, "files": {"file": ("pairs.jsonl", _PAIRS)}}

    def question(self) -> dict[str, Any]:
        return {"prompt": f"Question {next(self._numbers)}?", "run_ids": [1, self.filled.longest_run]}

    def campaign_body(self) -> dict[str, Any]:
        """A new campaign of ten prompts."""
        asked = self.question()
        return {"run_ids": asked["run_ids"], "prompts": [f"{asked['prompt']} {n}" for n in range(10)]}

    def new_campaign(self) -> int:
        answer = self.client.post("/campaigns", json=self.campaign_body())
        return int(_checked(answer).json()["id"])


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        answer.read()
        raise RuntimeError(f"{answer.request.method} {answer.request.url}: {answer.text}")
    return answer
