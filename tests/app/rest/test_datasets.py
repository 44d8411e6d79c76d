"""Datasets through the API."""

import gzip
import io
import json
import zipfile

import pytest
from fastapi.testclient import TestClient

from app.settings import get_settings
from app.store import datasets
from app.store.db import read_session, write_session
from tests.app import arena
from tests.app.rest.conftest import ok, refused, served

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def lines(count: int = 20) -> bytes:
    rows = [{"prompt": f"Q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def add(api: TestClient, content: bytes, filename: str = "pairs.jsonl", **form: object) -> object:
    return api.post("datasets", files={"file": (filename, content)}, data={"name": "posts", **form})  # type: ignore[arg-type]


def test_a_file_becomes_a_dataset_and_leaves_no_file(api: TestClient) -> None:
    bad = b'{"prompt": "Q", "chosen": "x"}\n'
    added = ok(add(api, lines() + bad, held_out="0.25"), 201)  # type: ignore[arg-type]
    assert (added["name"], added["version"], added["rows"], added["left_out_count"]) == ("posts", 1, 20, 1)
    assert (added["left_out"][0]["row"], added["source"], added["held_out"]) == (21, "pairs.jsonl", 0.25)
    again = ok(add(api, gzip.compress(lines(3)), "../../etc/x.jsonl.gz"), 201)  # type: ignore[arg-type]
    assert (again["version"], again["rows"]) == (2, 3)
    home = get_settings().root
    assert [path for path in home.rglob("*") if path.is_file() and "hypo.db" not in path.name] == []

    shown = ok(api.get("datasets/posts@1"))
    assert shown["splits"]["train"] + shown["splits"]["held_out"] == 20
    assert shown["id"] == ok(api.get(f"datasets/{shown['id']}"))["id"]
    (left_out,) = ok(api.get("datasets/posts@1/left-out"))["items"]
    assert left_out["row"] == 21
    assert [d["version"] for d in ok(api.get("datasets"))["items"]] == [2, 1]
    assert [d["version"] for d in ok(api.get("datasets?newest_only=true&name=POS"))["items"]] == [2]


def test_a_zip_of_a_folder_gives_the_split_that_is_named(api: TestClient) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mine/train.jsonl", lines(5))
        archive.writestr("mine/test.jsonl", lines(2))
    added = ok(add(api, packed.getvalue(), "mine.zip"), 201)  # type: ignore[arg-type]
    assert (added["rows"], added["source"]) == (5, "mine.zip")
    assert added["remarks"][0] == ("Of the zip archive, train.jsonl was read (split train), not test.jsonl.")
    assert ok(add(api, packed.getvalue(), "mine.zip", split="test"), 201)["rows"] == 2  # type: ignore[arg-type]
    assert "The splits are: test, train" in refused(
        add(api, packed.getvalue(), split="dev"), 422, field="split"
    )  # type: ignore[arg-type]


def test_columns_may_be_named(api: TestClient) -> None:
    content = b"question,good,poor\nQ1,yes,no\nQ2,aye,nay\n"
    assert "good" in refused(add(api, content, "x.csv"), 422, field="mapping")  # type: ignore[arg-type]
    columns = {"prompt_column": "question", "chosen_column": "good", "rejected_column": "poor"}
    assert ok(add(api, content, "x.csv", **columns), 201)["rows"] == 2  # type: ignore[arg-type]
    half = add(api, content, "x.csv", chosen_column="good")
    assert "both" in refused(half, 422, field="chosen_column")  # type: ignore[arg-type]


def test_winners_are_read_by_columns_and_values(api: TestClient) -> None:
    rows = [
        {"q": f"q {i}", "one": "a", "two": "b", "best": best, "site": "x"} for i, best in enumerate("ab-")
    ]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    columns = {"prompt_column": "q", "a_column": "one", "b_column": "two", "winner_column": "best"}
    added = ok(add(api, content, "x.jsonl", **columns, a_wins="a", b_wins="b"), 201)  # type: ignore[arg-type]
    assert added["rows"] == 2
    assert added["account"] == {
        "unused": {"site": 2},
        "left_out": {"best holds a value that names neither answer": 1},
        "scores": {"columns": [], "compared": 0, "equal": 0, "contradicting": 0},
        "weights": {"pairs": 0, "mean": 0.0},
        "margins": {"pairs": 0, "mean": 0.0},
        "remarks": ["best prefers one where it is a, two where it is b."],
    }
    listed = ok(api.get("/datasets"), 200)["items"]
    assert listed[0]["account"] == added["account"]
    lacking = add(api, content, "x.jsonl", a_column="one", winner_column="best")
    assert "which column is b" in refused(lacking, 422, field="mapping")  # type: ignore[arg-type]
    unsaid = add(api, content, "x.jsonl", **(columns | {"winner_column": "site"}))  # type: ignore[arg-type]
    assert "It holds: x." in refused(unsaid, 422, field="mapping")


def test_pairs_come_in_pages_in_their_order(api: TestClient) -> None:
    ok(add(api, lines(25)), 201)  # type: ignore[arg-type]
    seen, cursor = [], None
    while True:
        page = ok(
            api.get("datasets/posts/pairs", params={"limit": 10, **({"cursor": cursor} if cursor else {})})
        )
        seen += [pair["row"] for pair in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == list(range(1, 26))
    (found,) = ok(api.get("datasets/posts/pairs", params={"search": "GOOD 24"}))["items"]
    assert (found["prompt"], found["chosen"], found["rejected"]) == ("Q24", "good 24", "bad 24")
    held = ok(api.get("datasets/posts/pairs", params={"split": "held_out"}))["items"]
    assert {pair["split"] for pair in held} <= {"held_out"}


def test_a_deleted_dataset_is_off_the_lists(api: TestClient) -> None:
    ok(add(api, lines(3)), 201)  # type: ignore[arg-type]
    assert api.delete("datasets/posts").status_code == 204
    assert ok(api.get("datasets"))["items"] == []
    assert "no dataset" in refused(api.delete("datasets/posts"), 404)


def test_a_dataset_in_use_is_not_deleted(api: TestClient) -> None:
    ok(add(api, lines()), 201)  # type: ignore[arg-type]
    ok(api.post("runs", json={"method": "dpo", "dataset": "posts", "config": {"max_steps": 1}}), 201)
    assert "Cancel them first" in refused(api.delete("datasets/posts"), 409)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a" * 201}, "name"),
        ({"held_out": "0.95"}, "held_out"),
        ({"held_out": "nan"}, "held_out"),
        ({"held_out": "x"}, "held_out"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_stored(
    api: TestClient, form: dict[str, object], field: str
) -> None:
    refused(add(api, lines(), **form), 422, field=field)  # type: ignore[arg-type]
    assert ok(api.get("datasets"))["items"] == []


def test_a_path_of_the_server_is_no_file(api: TestClient) -> None:
    answer = api.post("datasets", data={"file": "/etc/hostname", "name": "stolen"})
    refused(answer, 422, field="file")


def test_uploads_have_a_limit_and_leave_nothing(engine: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPO_MAX_UPLOAD_MB", "1")
    get_settings.cache_clear()
    with TestClient(served(), base_url="http://testserver/api/v1/") as api:
        assert "HYPO_MAX_UPLOAD_MB" in refused(add(api, b"x" * (3 << 20)), 413)  # type: ignore[arg-type]

        def chunks() -> object:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(40):
                yield b"x" * (1 << 17)

        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        streamed = api.post("datasets", content=chunks(), headers=kind)  # type: ignore[arg-type]
        assert "larger than 1 MiB, the limit that HYPO_MAX_UPLOAD_MB" in refused(streamed, 413)
        assert refused(api.post("runs", content=b"x" * (2 << 20)), 413) == (
            "The body is larger than 1 MiB, the most that this address takes."
        )
        refused(api.post("datasets", content=b"x" * 100, headers=kind), 400)


def test_lists_have_no_gaps_when_rows_come_meanwhile(api: TestClient) -> None:
    with write_session() as session:
        ids = [arena.add_dataset(session, f"posts {number}").id for number in range(5)]
    first = ok(api.get("datasets?limit=2"))
    with write_session() as session:
        arena.add_dataset(session, "late")
    second = ok(api.get(f"datasets?limit=2&cursor={first['next']}"))
    third = ok(api.get(f"datasets?limit=2&cursor={second['next']}"))
    assert [d["id"] for page in (first, second, third) for d in page["items"]] == ids[::-1]
    assert third["next"] is None


@pytest.mark.parametrize("cursor", ["x", "0", "-1", "1.2", "9" * 30])
def test_a_cursor_that_no_page_said_is_refused(api: TestClient, cursor: str) -> None:
    refused(api.get("datasets", params={"cursor": cursor}), 422, field="cursor")


def test_votes_become_a_dataset(api: TestClient) -> None:
    assert "No vote" in refused(api.post("datasets/from-votes", json={"name": "votes"}), 409)
    with write_session() as session:
        comparison = arena.asked(session)
    ok(api.put(f"comparisons/{comparison.id}/vote", json={"choice": "B"}))
    added = ok(api.post("datasets/from-votes", json={"name": "votes"}), 201)
    with read_session() as session:
        (pair,) = datasets.page_of_pairs(added["id"], session=session)
    assert (pair.chosen, pair.rejected) == ("second answer", "first answer")
