"""Bad input of metering: every case has its own clear answer, and changes nothing."""
import pytest

SPEND = "/api/v1/spend/"


def reserve(server, **body):
    return server.post(SPEND + "reserve", json={"api_name": "test", "endpoint": "/x", "max_credits": 10, **body})


@pytest.mark.parametrize("body, status, words", [
    ('{"api_name": "test", "max_credits": -1}', 422, ["max_credits is -1", "from 0"]),
    ('{"api_name": "test", "max_credits": NaN}', 400, ["JSON, byte"]),
    ('{"api_name": "test", "max_credits": "NaN"}', 422, ['max_credits is "NaN"']),
    ('{"api_name": "test", "max_credits": "Infinity"}', 422, ['max_credits is "Infinity"']),
    ('{"api_name": "test", "max_credits": 1e400}', 422, ["max_credits is 1e400"]),
    ('{"api_name": "test", "max_credits": 1e15}', 422, ["max_credits is 1e15", "999999999999.999999"]),
    ('{"api_name": "test", "max_credits": 0.0000001}', 422, ["max_credits is 0.0000001", "six decimals"]),
    ('{"api_name": "test", "max_credits": true}', 422, ["max_credits is true"]),
    ('{"api_name": "test", "max_credits": [1]}', 422, ["max_credits is [1]"]),
    ('{"api_name": "", "max_credits": 1}', 422, ["api_name"]),
    ('{"max_credits": 1}', 422, ["api_name is missing"]),
    ('{"api_name": 5, "max_credits": 1}', 422, ["api_name is 5"]),
    ('{"api_name": "test", "max_credit": 1}', 422, ['unknown field "max_credit"', "max_credits"]),
    ('{"api_name": "test", "max_credits": 1, "max_credits": 2}', 422, ["max_credits is given twice"]),
    ('{"api_name": "test", "max_credits": 1, "ttl_ms": 0}', 422, ["ttl_ms is 0", "86400000"]),
    ('{"api_name": "test", "max_credits": 1, "ttl_ms": 86400001}', 422, ["ttl_ms is 86400001"]),
    ('{"api_name": "test", "max_credits": 1, "reservation_id": ""}', 422, ["reservation_id"]),
    ('{"api_name": "test", "max_credits": 1, "params": {"a": {}}}', 422, ["params"]),
    ('{"api_name": "test"}', 422, ["no price rule", "max_credits"]),
    ('{"api_name": "birdeyes", "endpoint": "/defi/price"}', 422, ["no price rule", "birdeye"]),
    ('[]', 422, ["not a JSON object"]),
    ('', 400, ["empty"]),
    ('{"api_name": "test"', 400, ["JSON, byte"]),
    ('{"api_name": "t\\u0000", "max_credits": 1}', 422, ["api_name"]),
])
def test_reserve_names_what_is_wrong(server, body, status, words):
    answer = server.post(SPEND + "reserve", data=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert all(word in detail for word in words), detail
    assert answer.json()["request_id"] and answer.json()["code"].startswith("EIDER_")
    assert server.get(SPEND + "reservations").json()["count"] == 0


def test_a_long_text_is_refused_with_its_limit(server):
    answer = reserve(server, run_id="r" * 1025)
    assert answer.status_code == 422 and "run_id" in answer.json()["detail"] and "1024" in answer.json()["detail"]
    assert reserve(server, run_id="r" * 1024).status_code == 200


def test_sums_beyond_what_credits_can_be_do_not_wrap_around(server):
    huge = "999999999999.999999"
    put = server.session.put(server.url + SPEND + "budgets/default", json={"hard_limit": huge}, timeout=30)
    assert put.status_code == 200, put.text
    assert reserve(server, max_credits=huge).status_code == 200
    second = reserve(server, max_credits=huge)
    assert second.status_code == 503 and second.json()["reason"] == "would_exceed"
    assert second.json()["reserved"] == pytest.approx(999999999999.999999)
    assert server.get(SPEND + "budgets/default").json()["instances"][0]["reserved"] > 0


@pytest.mark.parametrize("body, status, words", [
    ({"status_code": 200}, 422, ["reservation_id is missing"]),
    ({"reservation_id": "unknown-1"}, 404, ["unknown-1"]),
    ({"reservation_id": "r1", "status_code": 42}, 422, ["status_code is 42"]),
    ({"reservation_id": "r1", "latency_ms": -1}, 422, ["latency_ms is -1"]),
    ({"reservation_id": "r1", "credits": -1}, 422, ["credits is -1"]),
    ({"reservation_id": "r1", "credits": 11}, 422, ["overrun"]),
    ({"reservation_id": "r1", "metadata": "x"}, 422, ['metadata is "x"']),
    ({"reservation_id": "r1", "success": "yes"}, 422, ['success is "yes"']),
    ({"reservation_id": "r1", "api_name": "other"}, 403, ["api_name"]),
    ({"reservation_id": "r1", "key": "key-2"}, 403, ["key"]),
    ({"reservation_id": "r1", "run_id": "other"}, 403, ["run_id"]),
    ({"reservation_id": "r1", "project": "other"}, 403, ["project"]),
])
def test_commit_names_what_is_wrong_and_leaves_the_reservation(server, body, status, words):
    assert reserve(server, reservation_id="r1", key="key-1", run_id="run", project="p").status_code == 200
    answer = server.post(SPEND + "commit", json=body)
    assert answer.status_code == status, answer.text
    assert all(word in answer.json()["detail"] for word in words), answer.text
    assert server.get(SPEND + "reservations").json()["count"] == 1
    assert server.post(SPEND + "commit", json={"reservation_id": "r1", "status_code": 200, "key": "key-1"}).status_code == 200


def test_overrun_books_more_than_was_reserved_when_asked_to(server):
    reserve(server, reservation_id="r1")
    answer = server.post(SPEND + "commit", json={"reservation_id": "r1", "status_code": 200, "credits": 11, "overrun": True})
    assert answer.status_code == 200 and answer.json()["credits"] == 11
    assert "eider_meter_overruns_total 1" in server.get("/metrics").text


@pytest.mark.parametrize("path", ["release", "extend"])
def test_unknown_reservations_are_404(server, path):
    answer = server.post(SPEND + path, json={"reservation_id": "none"})
    assert answer.status_code == 404 and answer.json()["code"] == "EIDER_NOT_FOUND"


@pytest.mark.parametrize("name, body, status, words", [
    ("b", {"hard_limit": -1}, 422, ["hard_limit"]),
    ("b", {"hard_limit": 1e13}, 422, ["hard_limit"]),
    ("b", {"window": "week"}, 422, ["window", "week", "month"]),
    ("b", {"window_minutes": 0}, 422, ["window_minutes"]),
    ("b", {"scope": {"apy": "x"}}, 422, ["apy"]),
    ("b", {"scope": "all"}, 422, ["scope"]),
    ("b", {"mode": "off"}, 422, ["mode", "enforce"]),
    ("b", {"hard_limits": 5}, 422, ["hard_limits"]),
    ("b", {"name": "c", "hard_limit": 5}, 422, ["name"]),
    ("b", [], 422, ["object"]),
    ("b d", {"hard_limit": 5}, 422, ["name"]),
    ("x" * 65, {"hard_limit": 5}, 422, ["name"]),
])
def test_budgets_name_what_is_wrong(server, name, body, status, words):
    answer = server.session.put(f"{server.url}{SPEND}budgets/{name}", json=body, timeout=30)
    assert answer.status_code == status, answer.text
    assert all(word in answer.json()["detail"] for word in words), answer.text
    assert server.get(SPEND + "budgets").json()["count"] == 1


def test_broken_definition_is_a_syntax_error(server):
    answer = server.session.put(server.url + SPEND + "budgets/b", data=b'{"hard_limit": ', timeout=30)
    assert answer.status_code == 400, answer.text
