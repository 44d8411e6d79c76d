"""The lineage over the API."""

from fastapi.testclient import TestClient

from tests.app.rest.conftest import ok, refused
from tests.app.scored import add_pairs, add_run


def test_a_lineage_is_read_by_dataset_run_or_campaign(api: TestClient) -> None:
    dataset = add_pairs(3, held_out=0)
    run = add_run(dataset)
    by_name = ok(api.get("lineage", params={"dataset": "scored@1"}))
    by_run = ok(api.get("lineage", params={"run": run}))
    assert (by_name["of"], by_run["of"]) == (f"dataset:{dataset}", f"run:{run}")
    assert by_name["links"] == by_run["links"]
    assert by_run["nodes"][0]["title"] == "a test"
    assert "Name one of" in refused(api.get("lineage"), 422, field="dataset")
    refused(api.get("lineage", params={"run": 0}), 422, field="run")
    refused(api.get("lineage", params={"campaign": 9}), 404)
