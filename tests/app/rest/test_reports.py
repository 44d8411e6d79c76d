"""Reports over the API."""

import io
from collections.abc import Callable
from zipfile import ZipFile

from fastapi.testclient import TestClient

from app.store.db import write_session
from tests.app import arena, campaign_setup
from tests.app.rest.conftest import ok, refused


def test_a_report_is_made_read_changed_exported_and_deleted(api: TestClient) -> None:
    campaign_id = campaign_setup.ready()
    made = ok(api.post("reports", json={"campaign_ids": [campaign_id], "question": "Better?"}), 201)
    assert made["question"] == "Better?"
    assert made["campaigns"][0]["names_hidden"] is True
    assert made["campaigns"][0]["board"] is None
    ok(api.post(f"campaigns/{campaign_id}/names"))
    assert ok(api.get(f"reports/{made['id']}"))["campaigns"][0]["board"]["games"] == 0
    changed = ok(api.patch(f"reports/{made['id']}", json={"notes": "Found."}))
    assert (changed["question"], changed["notes"]) == ("Better?", "Found.")
    (listed,) = ok(api.get("reports"))["items"]
    assert (listed["id"], listed["campaigns"]) == (made["id"], [campaign_id])
    sent = api.get(f"reports/{made['id']}/export", params={"format": "html"})
    assert "attachment" in sent.headers["content-disposition"]
    assert sent.text.startswith("<!doctype html>")
    zipped = api.get(f"reports/{made['id']}/export", params={"format": "zip"})
    assert "report.json" in ZipFile(io.BytesIO(zipped.content)).namelist()
    ok(api.delete(f"reports/{made['id']}"), 204)
    refused(api.get(f"reports/{made['id']}"), 404)


def test_bad_calls_are_told(api: TestClient, as_user: Callable[[str], dict[str, str]]) -> None:
    refused(api.post("reports", json={}), 422, field="run_ids")
    refused(api.post("reports", json={"run_ids": [9]}), 404)
    refused(api.post("reports", json={"run_ids": [1], "question": "?" * 301}), 422, field="question")
    refused(api.get("reports/1/export", params={"format": "pdf"}), 422, field="format")
    with write_session() as session:
        run_id = arena.add_run(session).id
    made = ok(api.post("reports", json={"run_ids": [run_id]}, headers=as_user("ann")), 201)
    assert "ann's" in refused(
        api.patch(f"reports/{made['id']}", json={"notes": "no"}, headers=as_user("bob")), 409
    )
    assert "ann's" in refused(api.delete(f"reports/{made['id']}", headers=as_user("bob")), 409)
