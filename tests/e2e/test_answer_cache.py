"""Kept answers to history requests: given again while they hold, never behind a write, with entity tags."""
import re

import pytest

from eider import Server

RANGE = {"start_time": "2026-03-02T10:00:00", "end_time": "2026-03-02T10:29:59"}


def quote(minute, price, symbol="AAPL"):
    return {"timestamp": f"2026-03-02T10:{minute:02d}:00", "symbol": symbol, "last_price": price, "volume": 1000 + minute}


def kept(server, name):
    """A figure of the cache in /metrics."""
    page = server.get("/metrics").text
    return float(re.search(rf"^eider_answer_cache_{name} (\S+)$", page, re.M).group(1))


@pytest.fixture
def loaded(server):
    assert server.ingest("market_data", [quote(m, 100.0 + m) for m in range(30)], ack="applied").status_code == 200
    return server


def history(server, **more):
    answer = server.get("/api/metrics/history", params={**RANGE, "metric_types": "market_data", **more})
    assert answer.status_code == 200
    return answer


def test_the_same_question_is_answered_from_memory(loaded):
    first = history(loaded)
    hits = kept(loaded, "hits_total")
    again = history(loaded)
    assert again.content == first.content and again.headers["ETag"] == first.headers["ETag"]
    assert kept(loaded, "hits_total") == hits + 1


def test_get_and_post_answer_alike(loaded):
    body = {**RANGE, "metric_types": ["market_data"]}
    assert loaded.post("/api/metrics/history", json=body).json() == history(loaded).json()


def test_a_write_into_the_range_is_seen_at_once(loaded):
    before = history(loaded)
    for price in (500.0, 501.0, 502.0):
        assert loaded.ingest("market_data", quote(12, price), ack="applied").status_code == 200
        after = history(loaded)
        assert after.headers["ETag"] != before.headers["ETag"]
        assert price in {row["high"] for row in after.json()["data"]}
        before = after


def test_a_write_elsewhere_leaves_the_answer(loaded):
    history(loaded)
    hits = kept(loaded, "hits_total")
    later = {**quote(0, 1.0), "timestamp": "2026-03-05T10:00:00"}
    assert loaded.ingest("market_data", later, ack="applied").status_code == 200
    assert loaded.ingest("trades", {"timestamp": "2026-03-02T10:05:00", "symbol": "AAPL", "side": "buy", "quantity": 1,
                                    "price": 1}, ack="applied").status_code == 200
    history(loaded)
    assert kept(loaded, "hits_total") == hits + 1


def test_the_row_before_the_range_counts(loaded):
    """The volume of the first bucket is what the total grew since the row before it."""
    late = {"start_time": "2026-03-02T10:10:00", "end_time": "2026-03-02T10:14:59"}
    before = history(loaded, **late).json()["data"][0]["total_volume"]
    assert loaded.ingest("market_data", {**quote(9, 109.0), "volume": 5}, ack="applied").status_code == 200
    assert history(loaded, **late).json()["data"][0]["total_volume"] != before


def test_a_client_that_has_the_answer_gets_304(loaded):
    etag = history(loaded).headers["ETag"]
    for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = loaded.get("/api/metrics/history", params={**RANGE, "metric_types": "market_data"},
                            headers={"If-None-Match": sent})
        assert answer.status_code == 304 and answer.content == b"" and answer.headers["ETag"] == etag
    other = loaded.get("/api/metrics/history", params={**RANGE, "metric_types": "market_data"},
                       headers={"If-None-Match": '"other"'})
    assert other.status_code == 200 and other.headers["ETag"] == etag


@pytest.mark.parametrize("path", ["/api/v1/candles/AAPL", "/api/trades/", "/api/trades/stats/summary"])
def test_other_histories_are_kept_too(loaded, path):
    first = loaded.get(path)
    hits = kept(loaded, "hits_total")
    assert loaded.get(path).content == first.content
    assert kept(loaded, "hits_total") == hits + 1
    assert loaded.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_trades_change_with_every_trade(loaded):
    for count in range(1, 5):
        trade = {"timestamp": f"2026-03-02T10:0{count}:00", "symbol": "AAPL", "side": "buy", "quantity": 1, "price": 1}
        assert loaded.ingest("trades", trade, ack="applied").status_code == 200
        assert loaded.get("/api/trades/").json()["total"] == count


def test_a_trade_that_moves_to_another_day_leaves_the_old_one(loaded):
    """What replaces a trade says nothing of the time that the trade had."""
    trade = {"trade_id": "moves", "timestamp": "2026-03-02T10:05:00", "symbol": "AAPL", "side": "buy", "quantity": 1, "price": 7}
    day = {"start_time": "2026-03-02T00:00:00", "end_time": "2026-03-02T23:59:59"}
    empty = loaded.get("/api/trades/", params=day)
    assert loaded.ingest("trades", trade, ack="applied").status_code == 200
    before = loaded.get("/api/trades/", params=day)
    assert before.json() != empty.json()
    assert loaded.ingest("trades", {**trade, "timestamp": "2026-03-05T10:05:00"}, ack="applied").status_code == 200
    after = loaded.get("/api/trades/", params=day, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200 and after.json() == empty.json()


def test_a_wrong_question_is_not_kept(loaded):
    for _ in range(2):
        answer = loaded.get("/api/metrics/history", params={"start_time": "yesterday"})
        assert answer.status_code == 422 and "start_time" in answer.json()["detail"]


def test_memory_is_bounded():
    with Server("--set", "query.cache_bytes=256KiB") as server:
        assert server.ingest("market_data", [quote(m, 1.0, f"S{s}") for m in range(30) for s in range(3)],
                             ack="applied").status_code == 200
        for second in range(60):
            history(server, end_time=f"2026-03-02T10:29:{second:02d}", interval="1m")
        assert kept(server, "evictions_total") > 0
        assert kept(server, "bytes") <= kept(server, "max_bytes") == 256 << 10


def test_nothing_is_kept_when_switched_off():
    with Server("--set", "query.cache_bytes=0") as server:
        first = history(server)
        assert history(server).headers["ETag"] == first.headers["ETag"]
        assert kept(server, "hits_total") == 0 and kept(server, "entries") == 0
