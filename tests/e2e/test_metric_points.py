"""Points of metrics over HTTP: what the Hedera monitor's clients ask for, and what only we answer; the cache behind it."""
import time

import pytest

from eider import Server, wait_for

POINTS = "/api/v1/metrics"
START = 1_700_000_000


@pytest.fixture(params=["duckdb", "memory"])
def store(request):
    with Server("--storage", request.param) as server:
        yield server


def row(name, second, value, symbol=None, **labels):
    made = {"metric_name": name, "timestamp": second, "value": value}
    if symbol:
        made["symbol"] = symbol
    if labels:
        made["labels"] = labels
    return made


def write(server, rows):
    answer = server.ingest("metrics", rows, precision="s", ack="applied")
    assert answer.status_code == 200, answer.text


def ask(server, path=POINTS, **params):
    answer = server.get(path, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("}\n")
    found = answer.json()
    assert found["count"] == len(found["metrics"])
    return found["metrics"]


def figures(server, prefix):
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in server.get("/metrics").text.splitlines() if line.startswith("eider_" + prefix)}


def balances(count):
    return [row("account_balance", START + n, n, account_id=f"0.0.{n % 2}", label="main") for n in range(count)]


def test_the_monitors_shape(store):
    write(store, [row("account_balance", START, 5.5, account_id="0.0.7", label="<a>"), row("network_consensus_active", START + 1, 1)])
    assert ask(store) == [
        {"Name": "account_balance", "Timestamp": START, "Value": 5.5, "Labels": {"account_id": "0.0.7", "label": "<a>"}},
        {"Name": "network_consensus_active", "Timestamp": START + 1, "Value": 1, "Labels": None},
    ]
    assert [m["Name"] for m in ask(store, name="network_consensus_active")] == ["network_consensus_active"]
    assert ask(store, name="none_of_that") == []


def test_limits_are_read_as_the_monitor_reads_them(store):
    write(store, balances(250))
    assert [m["Value"] for m in ask(store, name="account_balance")] == list(range(100))
    for limit, count in {"7": 7, "0": 250, "-3": 100, "seven": 100, "": 100, "99999": 250}.items():
        assert len(ask(store, name="account_balance", limit=limit)) == count, limit
        assert len(ask(store, limit=limit)) == count, limit


def test_points_of_a_label(store):
    write(store, balances(20) + [row("other", START + 50, 1, account_id="0.0.1"), row("other", START, 1, owner="0.0.1")])
    found = ask(store, POINTS + "/account", key="account_id", value="0.0.1")
    assert [m["Value"] for m in found] == [*range(1, 20, 2), 1] and found[-1]["Name"] == "other"
    assert len(ask(store, POINTS + "/account", key="account_id", value="0.0.1", limit="3")) == 3
    assert ask(store, POINTS + "/account", key="account_id", value="0.0.") == []
    for params in ({}, {"key": "account_id"}, {"value": "0.0.1"}):
        refused = store.get(POINTS + "/account", params=params)
        assert refused.status_code == 400
        assert refused.json()["error"] == refused.json()["detail"] == "key and value query parameters required"


def test_the_last_hour_of_one_series_is_one_get(store):
    now = int(time.time())
    rows = [row("price", now - 10 * n, n, symbol="A", venue="x") for n in range(720)]
    write(store, rows + [row("price", now - 5, -1, symbol="B", venue="x"), row("price", now - 5, -2), row("price", now - 5, -3, symbol="A", venue="y")])
    found = ask(store, name="price", symbol="A", **{"label.venue": "x"}, last="1h", limit="0")
    assert 355 <= len(found) <= 361 and {m["Symbol"] for m in found} == {"A"}
    assert [m["Value"] for m in found] == list(range(len(found) - 1, -1, -1))
    assert [m["Value"] for m in ask(store, name="price", symbol="A", order="desc", limit="3")] == [0, -3, 1]
    assert [m["Value"] for m in ask(store, name="price", symbol="")] == [-2]
    ranged = ask(store, name="price", symbol="A", **{"label.venue": "x", "from": str(now - 50), "to": str(now - 20)}, precision="us")
    assert [m["Timestamp"] for m in ranged] == [(now - 10 * n) * 10**6 for n in (5, 4, 3, 2)]
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 20))
    assert len(ask(store, name="price", symbol="A", **{"label.venue": "x", "from": iso})) == 3


@pytest.mark.parametrize("params, named", [
    ({"from": "soon"}, "from"), ({"to": "1e99"}, "to"), ({"last": "2 weeks"}, "2 weeks"), ({"order": "up"}, "order"),
    ({"precision": "h"}, "precision"), ({"from": "20", "to": "10"}, "from"), ({"from": "9223372036854775807"}, "from"),
    ({f"label.{n}": "x" for n in range(17)}, "labels")])
def test_bad_questions_are_named(server, params, named):
    refused = server.get(POINTS, params=params)
    assert refused.status_code in (400, 422), refused.text
    assert named in refused.json()["error"] and refused.json()["error"] == refused.json()["detail"] and refused.json()["code"].startswith("EIDER_")


def test_a_wrong_method_is_refused_in_the_monitors_shape(store):
    for path in (POINTS, POINTS + "/account", "/api/v1/storage/stats"):
        refused = store.post(path, data="{}")
        assert refused.status_code == 405 and "GET" in refused.headers["Allow"], (path, refused.text)
        assert refused.json()["error"] == refused.json()["detail"] == "only GET allowed" and refused.json()["code"] == "EIDER_METHOD"


def test_storage_stats(store):
    write(store, balances(30))
    found = store.get("/api/v1/storage/stats").json()
    assert found["metric_count"] == 30 and found["utilization"].endswith("%") and isinstance(found["max_size"], int)
    assert set(found["cache"]) >= {"hits", "misses", "hit_rate", "evicted_points", "bytes", "utilization"}
    assert store.get("/api/system/stats").json()["cache"]["bytes_max"] == found["cache"]["bytes_max"] > 0


@pytest.mark.parametrize("said, kept", [("40", 40), (" 40 50 ", 40), ("", 10000), ("many", 10000), ("-7", 10000), ("0", 10000)])
def test_the_monitors_bound_of_points(said, kept):
    with Server("--storage", "memory", "--set", "collect.system=false", env={"COLLECTOR_MEMORY_MAX_SIZE": said}) as server:
        write(server, [row("account_balance", START + n, n) for n in range(60)])
        found = server.get("/api/v1/storage/stats").json()
        count = min(60, kept)
        assert (found["metric_count"], found["max_size"]) == (count, kept)
        assert found["utilization"] == f"{100 * found['cache']['utilization']:.2f}%"
        assert kept > 60 or found["utilization"] == "100.00%"
        assert [m["Value"] for m in ask(server, limit="0")] == list(range(60 - count, 60))
        assert figures(server, "memory_store")["eider_memory_store_evicted_points_total"] == 60 - count


def test_the_cache_answers_and_says_so(server):
    write(server, balances(400))
    one = {"name": "account_balance", "label.account_id": "0.0.1", "from": str(START), "limit": "0"}
    first = ask(server, **one)
    before = figures(server, "hot_cache")
    queries = figures(server, "store_queries")
    assert before["eider_hot_cache_on"] == 1
    for _ in range(5):
        assert ask(server, **one) == first
    write(server, [row("account_balance", START + 1000, 1000, account_id="0.0.1", label="main"), row("account_balance", START + 9, -9, account_id="0.0.1", label="main")])
    again = ask(server, **one)
    assert len(again) == 202 and again[-1]["Value"] == 1000
    after = figures(server, "hot_cache")
    assert after["eider_hot_cache_hits_total"] >= before["eider_hot_cache_hits_total"] + 5
    assert after["eider_hot_cache_bytes"] > 0 and 0 < after["eider_hot_cache_hit_ratio"] <= 1
    assert figures(server, "store_queries")["eider_store_queries_total"] <= queries["eider_store_queries_total"] + 2


def test_a_cache_of_no_bytes_is_none():
    with Server("--set", "storage.hot_cache_bytes=0") as server:
        write(server, balances(5))
        assert len(ask(server)) == 5 and len(ask(server, name="account_balance", symbol="")) == 5
        assert figures(server, "hot_cache") == {}
        assert server.get("/api/v1/storage/stats").json()["cache"]["bytes_max"] == 0


def test_openapi_describes_them(server):
    paths = server.get("/openapi.json").json()["paths"]
    assert "MetricPoints" in str(paths[POINTS]["get"]["responses"]["200"])
    assert {"name", "limit", "last", "label.NAME"} <= {p["name"] for p in paths[POINTS]["get"]["parameters"]}
    assert POINTS + "/account" in paths and "/api/v1/storage/stats" in paths
