"""Reserve, commit, release over HTTP: the answers of docs/metering.md, budgets, breakers, what survives a kill."""
import threading

import pytest

from eider import Server, wait_for

SPEND = "/api/v1/spend/"


def reserve(server, **body):
    return server.post(SPEND + "reserve", json={"api_name": "test", "endpoint": "/x", "max_credits": 10, **body})


def commit(server, reservation_id, **body):
    return server.post(SPEND + "commit", json={"reservation_id": reservation_id, **body})


def put_budget(server, name, **body):
    return server.session.put(f"{server.url}{SPEND}budgets/{name}", json=body, timeout=30)


def budget(server, name="default"):
    answer = server.get(f"{SPEND}budgets/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def counters(server, name="default"):
    """(used, reserved) of a budget with one counter."""
    instances = budget(server, name)["instances"]
    return (instances[0]["used"], instances[0]["reserved"]) if instances else (0, 0)


def test_reserve_commit_and_what_they_answer(server):
    answer = reserve(server, method="POST", key="key-1", run_id="r1", project="p", ttl_ms=30000)
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert body["credits"] == 10 and body["replayed"] is False and body["price_rule"] is None and body["lsn"] > 0
    assert body["expires_at"] > "2020" and len(body["reservation_id"]) <= 64
    [covering] = body["budgets"]
    assert covering["name"] == "default" and covering["limit"] == 1000000 and covering["reserved"] == 10
    assert covering["scope"] == {} and covering["instance"] == "" and covering["state"] == "closed" and covering["used"] == 0
    assert counters(server) == (0, 10)
    answer = commit(server, body["reservation_id"], status_code=200, latency_ms=12.5, credits=7.25, metadata={"a": 1})
    done = answer.json()
    assert answer.status_code == 200, answer.text
    assert (done["credits"], done["reservation_id"], done["replayed"]) == (7.25, body["reservation_id"], False)
    assert counters(server) == (7.25, 0)
    entry = wait_for(lambda: server.get("/api/v1/events", params={"id": done["event_id"]}).json()["events"], what="the entry")[0]
    assert (entry["api_name"], entry["endpoint"], entry["method"], entry["status_code"]) == ("test", "/x", "POST", 200)
    assert entry["credits_cost"] == 7.25 and entry["success"] is True and entry["latency_ms"] == 12.5
    assert (entry["api_key"], entry["run_id"], entry["project"]) == ("key-1", "r1", "p")
    assert entry["reservation_id"] == body["reservation_id"] and entry["seq"] == 1 and len(entry["hash"]) == 64


def test_release_gives_back_and_extend_asks_for_more(server):
    one = reserve(server).json()
    longer = server.post(SPEND + "extend", json={"reservation_id": one["reservation_id"], "ttl_ms": 600000, "add_credits": "0.5"}).json()
    assert longer["credits"] == 10.5 and longer["expires_at"] > one["expires_at"]
    assert counters(server) == (0, 10.5)
    open_ones = server.get(SPEND + "reservations").json()
    assert open_ones["count"] == 1 and open_ones["reservations"][0]["reservation_id"] == one["reservation_id"]
    released = server.post(SPEND + "release", json={"reservation_id": one["reservation_id"]}).json()
    assert released["credits"] == 10.5 and released["replayed"] is False
    assert counters(server) == (0, 0)
    assert server.get(SPEND + "reservations").json() == {"reservations": [], "count": 0}


def test_the_same_again_is_answered_the_same(server):
    one = reserve(server, reservation_id="mine-1").json()
    again = reserve(server, reservation_id="mine-1").json()
    assert one["reservation_id"] == again["reservation_id"] == "mine-1" and again["replayed"] and not one["replayed"]
    assert counters(server) == (0, 10)
    first = commit(server, "mine-1", status_code=200, credits=3).json()
    second = commit(server, "mine-1", status_code=200, credits=3)
    assert second.status_code == 200 and second.json()["replayed"] and second.json()["event_id"] == first["event_id"]
    assert counters(server) == (3, 0)
    other = commit(server, "mine-1", status_code=200, credits=4)
    assert other.status_code == 409 and other.json()["code"] == "EIDER_CONFLICT"
    late = server.post(SPEND + "release", json={"reservation_id": "mine-1"})
    assert late.status_code == 409, late.text


def test_a_budget_refuses_with_the_reason_and_when_to_come_again(server):
    assert put_budget(server, "small", scope={"api": "test"}, hard_limit=25, window_minutes=60).status_code == 200
    first, second = reserve(server).json(), reserve(server).json()
    answer = reserve(server, key="key-1", endpoint="/x?api_key=secret123", run_id="r")
    body = answer.json()
    assert answer.status_code == 503, answer.text
    assert body["code"] == "CIRCUIT_BREAKER_TRIPPED" and body["budget"] == "small" and body["reason"] == "would_exceed"
    assert (body["threshold"], body["used"], body["reserved"], body["requested"]) == (25, 0, 20, 10)
    assert body["window_minutes"] == 60 and body["window"] == "sliding" and body["state"] == "closed"
    assert body["entry"]["api_name"] == "test" and body["entry"]["run_id"] == "r" and body["request_id"]
    assert "secret123" not in answer.text
    assert int(answer.headers["Retry-After"]) >= 1 and body["retry_after_ms"] > 0
    never = reserve(server, max_credits=26).json()
    assert never["reason"] == "never_fits"
    assert "Retry-After" not in reserve(server, max_credits=26).headers
    assert reserve(server, api_name="other").status_code == 200
    commit(server, first["reservation_id"], status_code=200, credits=5)
    commit(server, second["reservation_id"], status_code=200, credits=5)
    assert reserve(server).status_code == 200
    page = server.get("/metrics").text
    assert 'eider_budget_refused_calls_total{budget="small",reason="would_exceed"} 1' in page
    assert 'eider_budget_refused_calls_total{budget="small",reason="never_fits"} 2' in page


def test_check_says_what_reserve_would_and_writes_nothing(server):
    put_budget(server, "small", hard_limit=5)
    before = server.get("/api/v1/events/head").json()
    asked = server.post(SPEND + "check", json={"api_name": "test", "max_credits": 6}).json()
    assert asked["allowed"] is False and asked["budget"] == "small" and asked["code"] == "CIRCUIT_BREAKER_TRIPPED"
    assert server.post(SPEND + "check", json={"api_name": "test", "max_credits": "5"}).json()["allowed"] is True
    assert server.get(SPEND + "reservations").json()["count"] == 0
    assert server.get("/api/v1/events/head").json()["seq"] == before["seq"] == 0


def test_prices_quote_and_fill_in(server):
    books = server.get(SPEND + "prices").json()
    assert books["count"] >= 1 and any(book["book"] == "birdeye" for book in books["books"])
    call = {"api_name": "birdeye", "endpoint": "/defi/price", "method": "GET"}
    quote = server.post(SPEND + "quote", json=call).json()
    assert quote["credits"] == 60 and quote["price_rule"].startswith("birdeye/")
    one = server.post(SPEND + "reserve", json=call).json()
    assert one["credits"] == 60 and one["price_rule"] == quote["price_rule"]
    done = commit(server, one["reservation_id"], status_code=200).json()
    assert done["credits"] == 60 and done["price_rule"] == quote["price_rule"]
    failed = server.post(SPEND + "reserve", json=call).json()
    assert commit(server, failed["reservation_id"], status_code=500).json()["credits"] == 0
    assert counters(server) == (60, 0)


def test_budgets_are_listed_changed_and_deleted(server):
    answer = put_budget(server, "runs", scope={"run_id": "*"}, window="hour", hard_limit=100, soft_limit=50, description="a run")
    assert answer.status_code == 200, answer.text
    assert answer.json()["scope"] == {"run_id": "*"} and answer.json()["already_over"] is False
    for run in ("a", "b"):
        assert reserve(server, run_id=run).status_code == 200
    listed = {b["name"]: b for b in server.get(SPEND + "budgets").json()["budgets"]}
    assert set(listed) == {"default", "runs"} and listed["runs"]["hard_limit"] == 100
    assert sorted((i["instance"], i["reserved"]) for i in listed["runs"]["instances"]) == [("run_id=a", 10), ("run_id=b", 10)]
    assert listed["default"]["instances"][0]["reserved"] == 20 and listed["default"]["instances"][0]["exact"]
    assert server.session.delete(server.url + SPEND + "budgets/runs", timeout=30).json()["deleted"]
    assert server.get(SPEND + "budgets/runs").status_code == 404
    assert server.session.delete(server.url + SPEND + "budgets/runs", timeout=30).status_code == 404


def test_a_budget_below_what_is_spent_is_already_over(server):
    one = reserve(server, max_credits=50).json()
    commit(server, one["reservation_id"], status_code=200, credits=50)
    answer = put_budget(server, "late", hard_limit=20)
    assert answer.status_code == 200 and answer.json()["already_over"] is True, answer.text
    assert answer.json()["instances"][0]["used"] == 50
    assert reserve(server).json()["budget"] == "late"
    breaker = server.get(SPEND + "breaker").json()
    assert breaker["tripped"] and breaker["state"] == "open" and (breaker["threshold"], breaker["credits"]) == (20, 50)


def test_operators_force_count_and_reset(server):
    def act(action, **kwargs):
        return server.post(f"{SPEND}budgets/default/{action}", **kwargs)
    assert act("force-open", json={"reason": "maintenance"}).status_code == 200
    refused = reserve(server)
    assert refused.status_code == 503 and refused.json()["reason"] == "forced_open"
    assert server.get(SPEND + "breaker").json()["state"] == "forced_open"
    assert act("metrics-only").json()["mode"] == "metrics_only"
    assert put_budget(server, "default", hard_limit=5, mode="metrics_only").status_code == 200
    assert reserve(server).status_code == 200
    assert budget(server)["instances"][0]["would_refuse"] == 1
    assert act("enforce").json()["mode"] == "enforce"
    assert reserve(server).status_code == 503
    assert act("reset").status_code == 200
    assert act("explode").status_code == 404 and "reset" in act("explode").json()["detail"]
    assert act("reset", json={"reson": "x"}).status_code == 422
    assert server.post(SPEND + "budgets/none/reset").status_code == 404


def test_forecast_and_simulation(server):
    one = reserve(server, max_credits=50).json()
    commit(server, one["reservation_id"], status_code=200, credits=50)
    [forecast] = server.get(SPEND + "forecast").json()["forecasts"]
    assert forecast["name"] == "default" and forecast["rate_per_minute"] > 0 and forecast["text"].startswith("at this rate")

    def simulate():
        body = server.post(SPEND + "simulate", json={"hard_limit": 49}).json()
        return body if body.get("calls") else None
    body = wait_for(simulate, what="the entry in the store")
    assert (body["calls"], body["refused"], body["credits_refused"]) == (1, 1, 50)
    assert server.post(SPEND + "simulate", json={"hard_limit": 50}).json()["refused"] == 0
    assert server.post(SPEND + "simulate", json={"hard_limit": 1, "from": "yesterday"}).status_code == 422


def test_no_limit_is_passed_by_many_callers(server):
    put_budget(server, "tight", scope={"api": "test"}, hard_limit=100)
    results = []

    def worker():
        import requests
        with requests.Session() as session:
            for _ in range(20):
                answer = session.post(server.url + SPEND + "reserve", json={"api_name": "test", "max_credits": 1}, timeout=30)
                results.append(answer.status_code)
    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(200) == 100 and results.count(503) == 60
    assert counters(server, "tight") == (0, 100)


def test_reservations_and_budgets_outlive_a_kill(server):
    put_budget(server, "small", hard_limit=30)
    reserve(server, reservation_id="open-1", ttl_ms=600000)
    commit(server, reserve(server, reservation_id="done-1").json()["reservation_id"], status_code=200, credits=8)
    head = server.get("/api/v1/events/head").json()
    server.kill()
    server.start()
    assert counters(server, "small") == (8, 10)
    after = server.get("/api/v1/events/head").json()
    assert (after["seq"], after["hash"]) == (head["seq"], head["hash"]) and head["seq"] == 1
    assert commit(server, "done-1", status_code=200, credits=8).json()["replayed"]
    assert commit(server, "open-1", status_code=200, credits=1).status_code == 200
    assert counters(server, "small") == (9, 0)


def test_a_lease_that_ran_out_gives_back_and_cannot_be_committed(server):
    one = reserve(server, ttl_ms=50).json()
    wait_for(lambda: counters(server) == (0, 0), what="the end of the lease")
    late = commit(server, one["reservation_id"], status_code=200)
    assert late.status_code == 412 and late.json()["code"] == "EIDER_PRECONDITION" and "/api/v1/events" in late.json()["detail"]


def test_metering_can_be_switched_off():
    with Server("--set", "collect.system=false", "--set", "meter.enabled=false") as server:
        answer = reserve(server)
        assert answer.status_code == 503 and "meter.enabled" in answer.json()["detail"]
        assert server.get("/api/v1/events/head").status_code == 503


def test_default_budget_follows_the_originals_environment():
    env = {"CIRCUIT_BREAKER_THRESHOLD": "15", "CIRCUIT_BREAKER_WINDOW_MINUTES": "7"}
    with Server("--set", "collect.system=false", env=env) as server:
        body = budget(server)
        assert (body["hard_limit"], body["window_minutes"], body["name"]) == (15, 7, "default")
        assert reserve(server).status_code == 200 and reserve(server).status_code == 503
    with Server("--set", "collect.system=false", env={"CIRCUIT_BREAKER_ENABLED": "false"}) as server:
        assert server.get(SPEND + "budgets").json() == {"budgets": [], "count": 0}
        assert server.get(SPEND + "breaker").json()["tripped"] is False
        assert reserve(server).json()["budgets"] == []


@pytest.mark.parametrize("text, word", [("versions: nonsense", "bad.yaml:1"), ("book: [", "bad.yaml:")])
def test_sighup_reads_prices_and_keeps_the_old_when_they_are_bad(tmp_path, text, word):
    import signal
    with Server("--set", "collect.system=false", "--set", f"meter.prices_dir={tmp_path}") as server:
        (tmp_path / "bad.yaml").write_text(text)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the old prices stay" in server.log(), what="the message")
        assert word in server.log()
        quote = {"api_name": "birdeye", "endpoint": "/defi/price"}
        assert server.post(SPEND + "quote", json=quote).json()["credits"] == 60
        (tmp_path / "bad.yaml").unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "prices read anew" in server.log(), what="the reload")
