"""A dataset's pairs under models, through the API."""

from fastapi.testclient import TestClient

from tests.app.rest.conftest import ok, refused
from tests.app.scored import add_pairs, add_run, add_scoring


def test_pairs_are_scored_listed_and_left_out(api: TestClient) -> None:
    dataset = add_pairs(10, held_out=0)
    run = add_run(dataset)
    key = {"Idempotency-Key": "k"}
    for _ in range(2):
        made = ok(api.post(f"datasets/{dataset}/scorings", json={"run_id": run}, headers=key), 201)
    assert (made["status"], made["done"], made["total"], made["margin_kind"]) == ("queued", 0, 10, "relative")
    assert ok(api.post(f"pair-scorings/{made['id']}/cancel"))["status"] == "cancelled"
    refused(api.get(f"datasets/{dataset}/scored-pairs"), 409)
    scoring = add_scoring(dataset, [-2.0, 1.0, None, 0.5] + [3.0] * 6)
    assert [one["id"] for one in ok(api.get(f"datasets/{dataset}/scorings"))] == [scoring, made["id"]]

    found, cursor = list[int](), None
    while True:
        given = {"sort": "sure", "limit": 3} | ({"cursor": cursor} if cursor else {})
        page = ok(api.get(f"datasets/{dataset}/scored-pairs", params=given))
        found += [pair["row"] for pair in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == [10, 9, 8, 7, 6, 5, 2, 4]
    (wrong,) = ok(api.get(f"datasets/{dataset}/scored-pairs", params={"sort": "wrong"}))["items"]
    assert wrong["scores"][0] | {"correct": False, "margin": -2.0} == wrong["scores"][0]
    refused(api.get(f"datasets/{dataset}/scored-pairs", params={"cursor": "x"}), 422, field="cursor")

    address = f"datasets/{dataset}/leave-out"
    refused(api.post(address, json={}), 422, field="rows")
    refused(api.post(address, json={"rows": [1], "sort": "wrong"}), 422, field="rows")
    refused(api.post(address, json={"rows": [99]}), 422, field="rows")
    refused(api.post(address, json={"sort": "wrong", "expected": 2}), 409)
    assert ok(api.post(address, json={"sort": "wrong", "expected": 1}), 201)["rows"] == 9
    made = ok(api.post(address, json={"rows": [1, 2], "positions": [0, 5], "reason": "Odd."}), 201)
    assert (made["version"], made["rows"], made["left_out"]) == (3, 7, 3)
