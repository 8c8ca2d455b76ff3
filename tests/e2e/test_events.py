"""The event log over HTTP: appending, once and only once; pages, filters, statistics; every bad row named."""
import datetime
import gzip
import json
import re

import pytest

from eider import Server, wait_for

EVENTS = "/api/v1/events"


def entry(**more):
    return {"api_name": "birdeye", "endpoint": "/defi/price", "method": "GET", "status_code": 200, "latency_ms": 10.0,
            "credits_cost": 60, **more}


def append(server, rows, **params):
    body = rows if isinstance(rows, (str, bytes)) else json.dumps(rows)
    return server.post(EVENTS, data=body, params=params, headers={"Content-Type": "application/json"})


def events(server, **params):
    answer = server.get(EVENTS, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def settled(server, count):
    """Waits until the store has so many entries, and returns them, oldest first."""
    return wait_for(lambda: (found := events(server, limit=10000, order="asc"))["count"] == count and found["events"], what="entries")


def ago(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_one_an_array_and_lines_are_appended(server):
    one = append(server, entry(id="e-1")).json()
    assert one["accepted"] == 1 and one["ids"] == ["e-1"] and one["lsn"] > 0 and one["errors"] == [] and one["duplicates"] == 0
    assert append(server, [entry(), entry(key="k", metadata={"a": [1]})]).json()["accepted"] == 2
    lines = append(server, "\n".join(json.dumps(entry(run_id=f"r{n}")) for n in range(3))).json()
    assert lines["accepted"] == 3 and len(set(lines["ids"])) == 3
    found = settled(server, 6)
    assert [e["seq"] for e in found] == [1, 2, 3, 4, 5, 6] and found[2]["api_key"] == "k"
    assert json.loads(found[2]["metadata_json"]) == {"a": [1]} if isinstance(found[2]["metadata_json"], str) else found[2]["metadata_json"] == {"a": [1]}
    assert found[0]["metadata_json"] is None and found[0]["success"] is True and found[0]["credits_cost"] == 60
    head = server.get(EVENTS + "/head").json()
    assert (head["seq"], head["hash"]) == (6, found[5]["hash"]) and head["at"]


def test_gzip_and_ten_thousand_at_once(server):
    rows = [entry(id=f"bulk-{n}", timestamp=ago(minutes=5), credits_cost="0.000001") for n in range(10000)]
    body = gzip.compress("\n".join(json.dumps(row) for row in rows).encode())
    answer = server.post(EVENTS, data=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 200 and answer.json()["accepted"] == 10000, answer.text[:500]
    again = append(server, rows)
    assert again.status_code == 200 and (again.json()["accepted"], again.json()["duplicates"]) == (0, 10000)
    used = server.get("/api/v1/spend/budgets/default").json()["instances"][0]["used"]
    assert used == pytest.approx(0.01)
    answer = append(server, rows + [entry()])
    assert answer.status_code == 413 and "10000" in answer.json()["detail"]


def test_the_same_id_is_stored_once_and_other_content_conflicts(server):
    at = ago(minutes=1)
    assert append(server, entry(id="x", timestamp=at)).json()["accepted"] == 1
    again = append(server, [entry(id="x", timestamp=at), entry(id="y")]).json()
    assert (again["accepted"], again["duplicates"], again["ids"]) == (1, 1, ["x", "y"])
    answer = append(server, [entry(id="z"), entry(id="x", timestamp=at, credits_cost=61)])
    assert answer.status_code == 409 and answer.json()["code"] == "EIDER_CONFLICT"
    assert answer.json()["errors"][0] == {"row": 1, "field": "id", "value": "x",
                                          "expected": "the content that the entry of this id has, or another id"}
    assert [e["id"] for e in settled(server, 2)] == ["x", "y"]
    server.kill()
    server.start()
    assert append(server, entry(id="x", timestamp=at)).json()["duplicates"] == 1
    assert append(server, entry(id="x", timestamp=at, endpoint="/other")).status_code == 409


def test_corrections_give_credits_back(server):
    append(server, entry(id="wrong", credits_cost=100))
    assert append(server, entry(id="fix", corrects="wrong", credits_cost=-40)).json()["accepted"] == 1
    assert server.get("/api/v1/spend/budgets/default").json()["instances"][0]["used"] == 60
    found = settled(server, 2)
    assert found[1]["corrects"] == "wrong" and found[1]["credits_cost"] == -40


def test_late_entries_count_in_their_window_and_future_ones_are_refused(server):
    assert append(server, entry(timestamp=ago(minutes=59), credits_cost=5)).json()["accepted"] == 1
    assert append(server, entry(timestamp=ago(minutes=61), credits_cost=7)).json()["accepted"] == 1
    assert server.get("/api/v1/spend/budgets/default").json()["instances"][0]["used"] == 5
    assert append(server, entry(timestamp=ago(minutes=-4))).status_code == 200
    answer = append(server, entry(timestamp=ago(minutes=-6)))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "timestamp"


def test_what_was_spent_is_logged_unless_the_breaker_is_to_be_enforced(server):
    server.session.put(server.url + "/api/v1/spend/budgets/default", json={"hard_limit": 100}, timeout=30)
    assert append(server, [entry(), entry()]).status_code == 200
    answer = append(server, entry(id="no", endpoint="/x?api_key=secret99"), breaker="enforce")
    body = answer.json()
    assert answer.status_code == 503 and body["code"] == "CIRCUIT_BREAKER_TRIPPED" and "secret99" not in answer.text
    assert body["threshold"] == 100 and body["window_minutes"] == 60 and body["entry"]["id"] == "no" and "Retry-After" in answer.headers
    assert append(server, entry()).status_code == 200
    assert append(server, entry(), breaker="maybe").status_code == 422
    assert len(settled(server, 3)) == 3


def test_credits_left_out_come_from_the_price_book(server):
    row = entry()
    del row["credits_cost"]
    append(server, [row, {**row, "status_code": 500}, {**row, "api_name": "unpriced"}])
    found = settled(server, 3)
    assert [e["credits_cost"] for e in found] == [60, 0, 0]
    assert found[0]["price_rule"].startswith("birdeye/") and found[2]["price_rule"] is None


def test_secrets_are_not_stored(server):
    append(server, entry(endpoint="/x?api_key=geheim1", error_message="Authorization: Bearer geheim2",
                         metadata={"headers": {"X-API-KEY": "geheim3"}}))
    settled(server, 1)
    assert "geheim" not in server.get(EVENTS).text


@pytest.mark.parametrize("member, field, value, expected", [
    ('"credits_cost": -1', "credits_cost", "below 0", "correction"),
    ('"credits_cost": 0.0000001', "credits_cost", "0.0000001", "6 decimals"),
    ('"credits_cost": 1e400', "credits_cost", "1e400", "a number"),
    ('"credits_cost": "NaN"', "credits_cost", "NaN", "a number"),
    ('"latency_ms": -1', "latency_ms", "-1", "at least 0"),
    ('"status_code": "ok"', "status_code", "ok", "integer"),
    ('"success": "yes"', "success", "yes", "true or false"),
    ('"timestamp": "noon"', "timestamp", "noon", "ISO 8601"),
    ('"seq": 5', "seq", "5", "server"),
    ('"hash": "ab"', "hash", "ab", "server"),
    ('"created_at": "2026-01-01"', "created_at", "2026-01-01", "server"),
    ('"price_rule": "p"', "price_rule", "p", "server"),
    ('"credits": 5', "credits", "5", "credits_cost"),
    ('"id": "%s"' % ("i" * 65), "id", "i" * 65, "64"),
])
def test_bad_rows_are_named_and_nothing_is_stored(server, member, field, value, expected):
    body = '[{"api_name": "a", "endpoint": "/x"}, {"api_name": "a", "endpoint": "/x", %s}]' % member
    answer = append(server, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["accepted"] == 0 and answer.json()["rejected"] == 1
    [error] = answer.json()["errors"]
    assert (error["row"], error["field"], error["value"]) == (1, field, value) and expected in error["expected"]
    assert server.get(EVENTS + "/head").json()["seq"] == 0


@pytest.mark.parametrize("body", ["", "3", "[", '{"api_name": NaN}', '[{"api_name": "a", "endpoint": "/"}]]', '{"a": 1} x'])
def test_what_is_no_json_is_a_syntax_error(server, body):
    answer = append(server, body)
    assert answer.status_code == 400 and answer.json()["code"] == "EIDER_SYNTAX", answer.text


def load(server):
    rows = [entry(id=f"e{n}", timestamp=f"2026-03-0{1 + n % 2}T10:00:0{n}Z", api_name="a" if n < 6 else "b",
                  endpoint=f"/{n % 2}", status_code=[200, 200, 429, 500, None][n % 5], success=n % 5 < 2,
                  latency_ms=float(n), credits_cost=n, run_id=f"r{n % 3}", project="p" if n == 7 else None, key="k" if n == 7 else None)
            for n in range(10)]
    assert append(server, rows).status_code == 200
    settled(server, 10)


@pytest.mark.parametrize("params, ids", [
    ({"api_name": "b"}, [9, 8, 7, 6]), ({"endpoint": "/1", "api_name": "b"}, [9, 7]), ({"run_id": "r0", "order": "asc"}, [0, 3, 6, 9]),
    ({"status": "429"}, [7, 2]), ({"status": "5xx"}, [8, 3]), ({"status": "null"}, [9, 4]), ({"success": "true"}, [6, 5, 1, 0]),
    ({"success": "false", "api_name": "a"}, [4, 3, 2]), ({"key": "k"}, [7]), ({"project": "p"}, [7]), ({"id": "e3"}, [3]),
    ({"from": "2026-03-02T10:00:05Z"}, [9, 7, 5]), ({"to": "2026-03-01T10:00:02Z"}, [2, 0]), ({"method": "POST"}, []),
])
def test_pages_are_filtered(server, params, ids):
    load(server)
    assert [e["id"] for e in events(server, **params)["events"]] == [f"e{n}" for n in ids]


def test_pages_go_on_where_they_ended_whatever_comes_between(server):
    load(server)
    first = events(server, limit=4)
    append(server, entry(id="new"))
    settled(server, 11)
    second = events(server, limit=4, cursor=first["next_cursor"])
    third = events(server, limit=4, cursor=second["next_cursor"])
    assert [e["id"] for p in (first, second, third) for e in p["events"]] == [f"e{n}" for n in range(9, -1, -1)]
    assert third["next_cursor"] is None and first["count"] == 4


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "order=up", "status=600", "status=6xx", "success=maybe", "from=noon",
                                   "cursor=-1", "from=2026-01-02&to=2026-01-01"])
def test_wrong_filters_are_named(server, query):
    answer = server.get(f"{EVENTS}?{query}")
    assert answer.status_code == 422 and query.split("=")[0] in answer.json()["detail"], answer.text


def test_one_entry_and_none(server):
    load(server)
    assert server.get(EVENTS + "/e4").json()["status_code"] is None
    answer = server.get(EVENTS + "/nothing")
    assert answer.status_code == 404 and "nothing" in answer.json()["detail"]


def test_statistics_of_all_and_of_groups(server):
    empty = server.get(EVENTS + "/stats").json()
    assert (empty["total_events"], empty["total_credits"], empty["success_rate"], empty["error_count"]) == (0, 0, 0, 0)
    load(server)
    body = server.get(EVENTS + "/stats").json()
    assert (body["total_events"], body["total_credits"], body["success_rate"], body["avg_latency"]) == (10, 45, 0.4, 4.5)
    assert body["error_count"] == 6 and 4 <= body["p50_latency"] <= 5 and body["p95_latency"] >= 8 and "groups" not in body
    groups = server.get(EVENTS + "/stats", params={"group_by": "api,day", "success": "false"}).json()
    assert groups["total_events"] == 6
    found = {(g["api_name"], str(g["day"])[:10]): g["total_events"] for g in groups["groups"]}
    assert found == {("a", "2026-03-01"): 2, ("a", "2026-03-02"): 1, ("b", "2026-03-01"): 1, ("b", "2026-03-02"): 2}
    assert server.get(EVENTS + "/stats?group_by=api,day,hour").status_code == 422
    assert server.get(EVENTS + "/stats?group_by=colour").status_code == 422


def test_credits_of_a_window(server):
    append(server, [entry(timestamp=ago(minutes=10), credits_cost=1), entry(timestamp=ago(minutes=100), credits_cost=2),
                    entry(timestamp=ago(minutes=1), credits_cost=4, success=False, status_code=500)])
    settled(server, 3)
    assert server.get(EVENTS + "/credits").json()["total_credits"] == 1
    assert server.get(EVENTS + "/credits?window_minutes=120").json()["total_credits"] == 3
    assert server.get(EVENTS + "/credits", params={"since": ago(minutes=101)}).json()["total_credits"] == 3
    assert server.get(EVENTS + "/credits?window_minutes=0").status_code == 422
    assert server.get(EVENTS + "/credits?window_minutes=5&since=2026-01-01").status_code == 422


def test_the_head_is_told_and_written_down(tmp_path):
    path = tmp_path / "heads"
    with Server("--set", "collect.system=false", "--set", f"meter.head_file={path}") as server:
        assert server.stop() == 0
        assert not path.exists()
        server.start()
        append(server, [entry(), entry()])
        head = server.get(EVENTS + "/head").json()
        assert server.stop() == 0
        at, seq, digest = path.read_text().split()
        assert (int(seq), digest) == (2, head["hash"]) and at.endswith("Z")
        server.start()
        assert f"event log head: seq 2 hash {digest}" in server.log()


def test_old_ids_are_looked_up_in_the_store():
    with Server("--set", "collect.system=false", "--set", "meter.ids_recent_max=1000") as server:
        at = ago(minutes=3)
        rows = [entry(id=f"old-{n}", timestamp=at) for n in range(5000)]
        assert append(server, rows).json()["accepted"] == 5000
        settled(server, 5000)
        again = append(server, rows[:20])
        assert again.status_code == 200 and (again.json()["accepted"], again.json()["duplicates"]) == (0, 20), again.text
        answer = append(server, {**rows[7], "credits_cost": 1})
        assert answer.status_code == 409 and "old-7" in answer.json()["detail"]
        looked_up = int(re.search(r"^eider_meter_ids_looked_up_total (\d+)$", server.get("/metrics").text, re.M)[1])
        assert looked_up > 0
