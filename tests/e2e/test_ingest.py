"""Writing through HTTP: what is accepted is there, what is wrong is named, nothing is half done."""
import concurrent.futures
import gzip
import json

import pytest

from eider import wait_for

T0 = "2026-03-02T10:00:00"


def quote(symbol="AAPL", second=0, **more):
    return {"timestamp": f"2026-03-02T10:00:{second:02d}", "symbol": symbol, "last_price": 100.0 + second,
            "bid": 99.9, "ask": 100.1, "volume": 10 * second, "trades": second, **more}


def test_object_array_and_ndjson_are_all_written(server):
    assert server.ingest("market_data", quote(second=1), ack="applied").json()["accepted"] == 1
    assert server.ingest("market_data", [quote(second=2), quote(second=3)], ack="applied").json()["accepted"] == 2
    lines = "\n".join(json.dumps(quote(second=s)) for s in (4, 5, 6)) + "\n"
    answer = server.ingest("market_data", lines, ack="applied")
    assert answer.status_code == 200 and answer.json()["accepted"] == 3
    assert server.sql("SELECT count(*), sum(volume) FROM market_data") == [[6, 210]]


def test_lsn_grows_with_every_write(server):
    first = server.ingest("market_data", quote(second=1)).json()["lsn"]
    second = server.ingest("market_data", quote(second=2)).json()["lsn"]
    assert second > first > 0


def test_gzip_body(server):
    body = gzip.compress(json.dumps([quote(second=s) for s in range(50)]).encode())
    answer = server.post("/api/v1/ingest/market_data?ack=applied", data=body,
                         headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})
    assert answer.status_code == 200 and answer.json()["accepted"] == 50


def test_missing_values_take_the_defaults_of_the_originals(server):
    server.ingest("market_data", {"timestamp": T0, "symbol": "X"}, ack="applied")
    rows = server.sql("SELECT last_price, bid, ask, volume, trades, spread_bps FROM market_data")
    assert rows == [[None, None, None, 0, 0, 0.0]]


def test_row_with_an_existing_key_replaces_it(server):
    server.ingest("market_data", quote(second=7, last_price=1.0), ack="applied")
    server.ingest("market_data", quote(second=9, last_price=2.0), ack="applied")
    server.ingest("market_data", quote(second=7, last_price=3.0), ack="applied")
    rows = server.sql("SELECT timestamp, last_price FROM market_data ORDER BY 1")
    assert [r[1] for r in rows] == [3.0, 2.0]


def test_trade_with_an_existing_id_replaces_it(server):
    trade = {"trade_id": "t1", "timestamp": T0, "symbol": "A", "side": "buy", "quantity": 1, "price": 2}
    server.ingest("trades", trade, ack="applied")
    server.ingest("trades", {**trade, "price": 5}, ack="applied")
    assert server.sql("SELECT trade_id, price FROM trades") == [["t1", 5.0]]


@pytest.mark.parametrize("change, field, hint", [
    ({"last_price": "abc"}, "last_price", "number"),
    ({"volume": 1.5}, "volume", "integer"),
    ({"trades": 2**40}, "trades", "integer"),
    ({"timestamp": "yesterday"}, "timestamp", "ISO 8601"),
    ({"symbol": None}, "symbol", ""),
    ({"lastprice": 1}, "lastprice", "last_price"),
])
def test_a_wrong_value_is_named_and_nothing_of_the_body_is_written(server, change, field, hint):
    answer = server.ingest("market_data", [quote(second=1), {**quote(second=2), **change}])
    body = answer.json()
    assert answer.status_code == 422
    assert body["accepted"] == 0 and body["rejected"] >= 1
    assert body["errors"][0]["row"] == 1 and body["errors"][0]["field"] == field
    assert hint in body["errors"][0]["expected"]
    server.ingest("market_data", quote(symbol="END", second=3), ack="applied")
    assert server.sql("SELECT symbol FROM market_data") == [["END"]]


def test_skip_takes_the_good_rows(server):
    answer = server.ingest("market_data", [quote(second=1), quote(second=2, volume="x"), quote(second=3)],
                           on_error="skip", ack="applied")
    body = answer.json()
    assert answer.status_code == 200 and (body["accepted"], body["rejected"]) == (2, 1)
    assert server.sql("SELECT count(*) FROM market_data") == [[2]]


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"{", 400), (b"[1,", 400), (b"nonsense", 400), (b"[1]", 422), (b'{"symbol":"A"} x', 400),
    (b'\xff\xfe', 400),
])
def test_malformed_bodies_get_a_clear_answer(server, body, status):
    answer = server.ingest("market_data", body)
    assert answer.status_code in (status, 422), answer.text
    assert answer.json()["detail"] and answer.json()["code"].startswith("EIDER_")


def test_unknown_table_suggests_the_nearest(server):
    answer = server.ingest("market_dat", {})
    assert answer.status_code == 404 and "market_data" in answer.json()["detail"]


def test_unknown_option_value_is_refused(server):
    answer = server.ingest("market_data", quote(), ack="maybe")
    assert answer.status_code == 422 and "ack" in answer.json()["detail"]


def test_metrics_rows_become_series_and_samples(server):
    rows = [{"metric_name": "latency", "value": 1.5, "symbol": "AAPL", "labels": {"venue": "X"}, "timestamp": T0},
            {"metric_name": "latency", "value": 2.5, "symbol": "AAPL", "labels": {"venue": "X"},
             "timestamp": "2026-03-02T10:00:01"},
            {"metric_name": "load", "value": 0.5, "timestamp": T0}]
    assert server.ingest("metrics", rows, ack="applied").json()["accepted"] == 3
    assert server.sql("SELECT count(*) FROM series") == [[2]]
    got = server.sql("SELECT metric_name, symbol, value FROM trading_metrics ORDER BY metric_name, timestamp")
    assert got == [["latency", "AAPL", 1.5], ["latency", "AAPL", 2.5], ["load", None, 0.5]]


def test_line_protocol_goes_to_metrics_and_to_tables(server):
    body = ("# comment\n"
            "cpu,host=a usage=1.5,idle=98i 1772445600000\n"
            "temperature,symbol=LAB value=21.5 1772445600000\n"
            "trades,symbol=AAPL,side=buy trade_id=\"lp1\",quantity=3,price=10.5 1772445600000\n")
    answer = server.post("/write?precision=ms&ack=applied", data=body)
    assert answer.status_code == 204, answer.text
    assert int(answer.headers["X-Eider-Lsn"]) > 0
    got = server.sql("SELECT metric_name, symbol, value FROM trading_metrics ORDER BY 1")
    assert got == [["cpu_idle", None, 98.0], ["cpu_usage", None, 1.5], ["temperature", "LAB", 21.5]]
    assert server.sql("SELECT trade_id, quantity, timestamp FROM trades") == [["lp1", 3.0, "2026-03-02T10:00:00"]]


def test_line_protocol_version_two_path_and_wrong_line(server):
    assert server.post("/api/v2/write?bucket=b&org=o&precision=s", data="m v=1 1772445600").status_code == 204
    answer = server.post("/api/v2/write", data="m v=1 1\nbroken line here\n")
    assert answer.status_code in (400, 422)
    assert answer.json()["errors"][0]["row"] == 1 and answer.json()["error"]


def test_idempotency_key_writes_once(server):
    trade = {"timestamp": T0, "symbol": "A", "side": "buy", "quantity": 1, "price": 2}  # no id: each write would add one
    first = server.ingest("trades", trade, key="k1", ack="applied")
    again = server.ingest("trades", trade, key="k1", ack="applied")
    assert first.status_code == again.status_code == 200
    assert again.headers.get("Idempotent-Replayed") == "true"
    assert server.sql("SELECT count(*) FROM trades") == [[1]]
    other = server.ingest("trades", {**trade, "price": 3}, key="k1")
    assert other.status_code == 409 and "k1" in other.json()["detail"]


def test_idempotency_key_survives_a_kill(server):
    trade = {"timestamp": T0, "symbol": "A", "side": "buy", "quantity": 1, "price": 2}
    server.ingest("trades", trade, key="k2")
    server.kill()
    server.start()
    assert server.ingest("trades", trade, key="k2", ack="applied").headers.get("Idempotent-Replayed") == "true"
    assert server.sql("SELECT count(*) FROM trades") == [[1]]


def test_concurrent_requests_with_one_key_write_once(server):
    trade = {"timestamp": T0, "symbol": "A", "side": "buy", "quantity": 1, "price": 2}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        import requests
        def send(_):
            return requests.post(server.url + "/api/v1/ingest/trades", json=trade, timeout=30,
                                 headers={"Idempotency-Key": "race"}).status_code
        codes = list(pool.map(send, range(32)))
    assert set(codes) == {200}
    wait_for(lambda: server.sql("SELECT count(*) FROM trades") == [[1]], what="one trade")


def test_body_over_the_limit_is_refused_with_413(server):
    answer = server.post("/api/v1/ingest/market_data", data=b" " * (65 << 20))
    assert answer.status_code == 413 and answer.json()["code"] == "EIDER_TOO_LARGE"
    assert server.get("/health").status_code == 200


def test_gzip_bomb_is_refused(server):
    bomb = gzip.compress(b"[" + b" " * (300 << 20))
    answer = server.post("/api/v1/ingest/market_data", data=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    answer = server.post("/api/v1/ingest/market_data", data=b"not gzip", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    answer = server.post("/api/v1/ingest/market_data", data=b"{}", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415
