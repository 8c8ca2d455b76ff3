"""The REST interface: history, trades, SQL in its sandbox, health, OpenAPI, Prometheus metrics."""
import csv
import io
import json
import re
import signal
import subprocess

import pytest

import eider
from eider import Server, wait_for


def load_quotes(server):
    rows = []
    for minute in range(30):
        for symbol, base in (("AAPL", 100.0), ("MSFT", 200.0)):
            rows.append({"timestamp": f"2026-03-02T10:{minute:02d}:00", "symbol": symbol, "last_price": base + minute,
                         "bid": base + minute - 0.05, "ask": base + minute + 0.05, "volume": 1000 + 10 * minute,
                         "trades": 100 + minute, "spread_bps": 10.0})
    assert server.ingest("market_data", rows, ack="applied").status_code == 200


RANGE = {"start_time": "2026-03-02T10:00:00", "end_time": "2026-03-02T10:29:59"}


def test_history_buckets_market_data(server):
    load_quotes(server)
    answer = server.post("/api/metrics/history", json={**RANGE, "metric_types": ["market_data"], "interval": "5m"})
    body = answer.json()
    assert answer.status_code == 200 and body["count"] == len(body["data"]) == 12
    newest = body["data"][0]
    assert newest["type"] == "market_data" and newest["timestamp"] == "2026-03-02T10:25:00"
    aapl = [r for r in body["data"] if r["symbol"] == "AAPL"]
    assert aapl[0]["high"] == 129.0 and aapl[0]["low"] == 125.0 and aapl[0]["avg_price"] == pytest.approx(127.0)
    assert aapl[0]["avg_spread"] == pytest.approx(10.0)
    assert aapl[0]["total_volume"] == 50 and aapl[0]["total_trades"] == 5


@pytest.mark.parametrize("symbols", [{"symbol": "MSFT"}, {"symbols": ["MSFT"]}])
def test_history_takes_symbol_and_symbols(server, symbols):
    load_quotes(server)
    body = server.post("/api/metrics/history", json={**RANGE, **symbols, "metric_types": ["market_data"]}).json()
    assert body["count"] == 6 and {r["symbol"] for r in body["data"]} == {"MSFT"}


@pytest.mark.parametrize("time_range, interval", [("1h", "1m"), ("HOUR_1", "MINUTE_1"), ("24h", "15m"), ("DAYS_7", "HOUR_1"),
                                                  ("30d", "1d"), ("HOURS_24", "DAY_1")])
def test_history_takes_enum_names_and_values(server, time_range, interval):
    answer = server.post("/api/metrics/history", json={"time_range": time_range, "interval": interval})
    assert answer.status_code == 200 and answer.json()["data"] == []


def test_history_of_all_types(server):
    at = "2026-03-02T10:05:00"
    server.ingest("strategy_metrics", {"timestamp": at, "strategy_name": "m", "pnl": 5.5}, ack="applied")
    server.ingest("execution_metrics", {"timestamp": at, "orders_submitted": 10, "orders_filled": 9}, ack="applied")
    server.ingest("system_metrics", {"timestamp": at, "cpu_percent": 12.5}, ack="applied")
    body = server.post("/api/metrics/history", json={**RANGE, "metric_types": ["strategy", "execution", "system"]}).json()
    assert [r["type"] for r in body["data"]] == ["strategy", "execution", "system"]
    assert body["data"][0]["pnl"] == 5.5 and body["data"][1]["orders_filled"] == 9 and body["data"][2]["cpu_percent"] == 12.5


@pytest.mark.parametrize("body, word", [
    ({"interval": "7m"}, "interval"), ({"time_range": "2h"}, "time_range"), ({"metric_types": ["x"]}, "metric_types"),
    ({"symbols": "AAPL"}, "symbols"), ({"start_time": "noon"}, "start_time"),
    ({"start_time": "2026-01-02T00:00:00", "end_time": "2026-01-01T00:00:00"}, "start_time"),
])
def test_history_names_what_is_wrong(server, body, word):
    answer = server.post("/api/metrics/history", json=body)
    assert answer.status_code == 422 and word in answer.json()["detail"], answer.text


def load_trades(server, count=25):
    rows = [{"trade_id": f"t{n:03d}", "timestamp": f"2026-03-02T10:00:{n:02d}", "symbol": "AAPL" if n % 2 else "MSFT",
             "side": "buy" if n % 3 else "sell", "quantity": n + 1, "price": 10.0, "latency_ms": float(n)} for n in range(count)]
    assert server.ingest("trades", rows, ack="applied").status_code == 200


def test_trades_filters_pages_and_counts(server):
    load_trades(server)
    body = server.get("/api/trades/", params={"symbol": "AAPL", "limit": 5, "offset": 2}).json()
    assert (body["total"], body["limit"], body["offset"]) == (12, 5, 2)
    assert [t["trade_id"] for t in body["trades"]] == ["t019", "t017", "t015", "t013", "t011"]
    assert body["trades"][0]["pnl"] is None and body["trades"][0]["order_id"] is None
    body = server.get("/api/trades/", params={"start_time": "2026-03-02T10:00:10", "end_time": "2026-03-02T10:00:12Z"}).json()
    assert [t["trade_id"] for t in body["trades"]] == ["t012", "t011", "t010"]
    assert server.get("/api/trades/", params={"side": "sell"}).json()["total"] == 9


def test_trades_without_slash_redirects(server):
    answer = server.get("/api/trades?limit=1", allow_redirects=False)
    assert answer.status_code == 307 and answer.headers["Location"] == "/api/trades/?limit=1"


def test_one_trade_and_none(server):
    load_trades(server, 3)
    assert server.get("/api/trades/t001").json()["quantity"] == 2
    answer = server.get("/api/trades/none")
    assert answer.status_code == 404 and "Trade not found" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "start_time=x"])
def test_trades_refuse_wrong_parameters(server, query):
    assert server.get("/api/trades/?" + query).status_code == 422


def test_trade_summary_and_latency(server):
    now = server.sql("SELECT strftime(now()::TIMESTAMP, '%Y-%m-%dT%H:%M:%S')")[0][0]
    server.ingest("trades", [{"trade_id": f"s{n}", "timestamp": now, "symbol": "A", "side": "buy" if n < 7 else "sell",
                              "quantity": 2, "price": 5, "latency_ms": n + 1} for n in range(10)], ack="applied")
    body = server.get("/api/trades/stats/summary").json()
    assert (body["count"], body["total_volume"], body["avg_price"], body["avg_size"]) == (10, 100.0, 5.0, 2.0)
    assert (body["buy_count"], body["sell_count"]) == (7, 3)
    perf = server.get("/api/system/performance").json()
    assert 5 <= perf["latency_p50"] <= 6 and 9 <= perf["latency_p95"] <= 10 and 9 <= perf["latency_p99"] <= 10


def test_sql_types_params_and_formats(server):
    answer = server.post("/api/v1/sql", json={"sql": "SELECT ?::INT AS a, ? AS b, 1.5::DOUBLE AS c, TIMESTAMP '2026-01-02 03:04:05' AS d, "
                                                     "NULL AS e, true AS f", "params": [7, "x"]})
    body = answer.json()
    assert body["rows"] == [[7, "x", 1.5, "2026-01-02T03:04:05", None, True]]
    assert [c["name"] for c in body["columns"]] == list("abcdef") and body["row_count"] == 1
    text = server.post("/api/v1/sql", json={"sql": "SELECT 'a,b' AS x, 2 AS y"}, headers={"Accept": "text/csv"}).text
    assert list(csv.reader(io.StringIO(text))) == [["x", "y"], ["a,b", "2"]]
    text = server.post("/api/v1/sql", json={"sql": "SELECT 1 AS y"}, headers={"Accept": "application/x-ndjson"}).text
    assert json.loads(text) == {"y": 1}


@pytest.mark.parametrize("sql", [
    "SELECT * FROM read_csv('/etc/passwd')", "COPY trades TO '/tmp/x.csv'", "ATTACH '/tmp/x.db'", "INSERT INTO trades DEFAULT VALUES",
    "DELETE FROM trades", "CREATE TABLE x(i INT)", "DROP TABLE trades", "SELECT 1; SELECT 2", "INSTALL httpfs", "LOAD httpfs",
    "SET memory_limit='1TB'", "PRAGMA database_list", "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/*')",
    "SELECT * FROM read_text('/etc/hostname')", "CHECKPOINT", "EXPORT DATABASE '/tmp/x'", "", "SELEC 1", "SELECT * FROM nothere",
])
def test_sql_sandbox_refuses(server, sql):
    answer = server.post("/api/v1/sql", json={"sql": sql})
    assert answer.status_code in (400, 403, 422), f"{sql}: {answer.status_code} {answer.text}"
    assert answer.json()["detail"]
    assert server.sql("SELECT 1") == [[1]]


def test_sql_statement_time_is_bounded():
    with Server("--set", "storage.duckdb.query_timeout=1s", "--set", "collect.system=false") as server:
        answer = server.post("/api/v1/sql", json={"sql": "SELECT count(*) FROM range(100000000) a, range(100000) b"})
        assert answer.status_code == 504, answer.text
        assert server.sql("SELECT 1") == [[1]]


def test_sql_rows_are_bounded(server):
    answer = server.post("/api/v1/sql", json={"sql": "SELECT * FROM range(200000)"})
    assert answer.status_code == 200 and answer.json()["truncated"] and answer.json()["row_count"] == 100000


@pytest.mark.parametrize("path, status", [("/nowhere", 404), ("/api/metrics/nothing", 404)])
def test_unknown_paths(server, path, status):
    answer = server.get(path)
    assert answer.status_code == status and answer.json()["detail"] == "Not Found"


def test_wrong_method(server):
    assert server.get("/api/v1/sql").status_code == 405
    assert server.post("/health").status_code == 405


def test_service_health_and_description(server):
    root = server.get("/", headers={"Accept": "application/json"}).json()
    assert root["websocket"] == "/ws/metrics" and set(root["endpoints"]) == {"metrics", "trades", "system"}
    assert server.get("/health").json()["status"] == "healthy"
    ready = server.get("/health/ready").json()
    assert ready["ready"] and set(ready["collectors"]) == {"market_data", "strategy", "execution", "system"}
    assert server.get("/health/live").json()["alive"]
    database = server.get("/database/health").json()
    assert database["database_healthy"] and database["tables"]["trades"] == {"exists": True, "row_count": 0}


def test_every_documented_path_answers(server):
    """The description is made from the table of routes; each GET in it without a parameter answers."""
    spec = server.get("/openapi.json").json()
    assert spec["openapi"].startswith("3.1") and "trades" in spec["components"]["schemas"]
    for path, methods in spec["paths"].items():
        if "get" in methods and "{" not in path and path != "/ws/metrics":
            wanted = (400,) if path == "/api/v1/metrics/account" else (200, 204)  # asks for key and value
            assert server.get(path).status_code in wanted, path


def test_every_reference_of_the_description_resolves(server):
    text = server.get("/openapi.json").text
    spec = json.loads(text)
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert wanted <= set(spec["components"]["schemas"]) and len(wanted) > 40
    for shape in ("SpendReserve", "EventEntry", "Budget"):
        assert all(member for member in spec["components"]["schemas"][shape]["properties"].values())


def test_docs_and_dashboard_are_served_without_outside_addresses(server):
    for path in ("/", "/docs"):
        page = server.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
        assert not re.search(r'(src|href)="(https?:)?//', page.text)


def test_metrics_pass_promtool(server):
    load_trades(server)
    server.get("/api/metrics/current")
    page = server.get("/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    check = subprocess.run(["promtool", "check", "metrics"], input=page.text, capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check.stdout + check.stderr
    assert 'eider_ingest_rows_total{table="trades"} 25' in page.text
    assert re.search(r'eider_http_requests_total\{route="/api/v1/ingest/\{table\}",status="2xx"\} 1', page.text)


def test_token_is_needed_when_set():
    with Server("--set", "collect.system=false", env={"EIDER_TOKEN": "geheim"}) as server:
        assert server.get("/health").status_code == 200
        answer = server.get("/api/metrics/current")
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        good = {"Authorization": "Bearer geheim"}
        assert server.get("/api/metrics/current", headers=good).status_code == 200
        assert server.get("/api/metrics/current", headers={"Authorization": "Bearer geheim2"}).status_code == 401
        assert server.post("/api/v1/ingest/trades", data=b"{}").status_code == 401


def test_off_loopback_without_token_does_not_start():
    done = eider.run("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", "/tmp/eider-never", timeout=20)
    assert done.returncode == 2 and "token" in done.stderr


def test_cors_answers_the_known_origins(server):
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = server.session.options(server.url + "/api/metrics/history", headers=headers, timeout=10)
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    answer = server.get("/health", headers={"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_foreign_page_can_neither_write_nor_reach_us_by_its_own_name(server):
    """Without a token, browsers on this machine are the way in: their Origin and Host tell."""
    row = {"symbol": "A", "last_price": 1}
    for origin, status in ((None, 200), (server.url, 200), ("http://localhost:3000", 200), ("http://evil.example", 403), ("null", 403)):
        headers = {"Origin": origin} if origin else {}
        assert server.post("/api/v1/ingest/market_data", json=row, headers=headers).status_code == status, origin
    for host, status in (("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403)):
        assert server.get("/api/metrics/current", headers={"Host": host}).status_code == status, host


def test_second_server_on_the_same_directory_is_refused(server):
    done = eider.run("serve", "--port", str(eider.free_port()), "--data-dir", server.data_dir, timeout=20)
    assert done.returncode == 1 and str(server.process.pid) in done.stderr


def test_port_in_use_is_said(server):
    done = eider.run("serve", "--port", str(server.port), "--data-dir", server.data_dir + "-other", timeout=20)
    assert done.returncode == 1 and str(server.port) in done.stderr


def test_sigterm_drains_and_ends_with_zero(server):
    server.ingest("market_data", {"symbol": "A", "last_price": 1})
    assert server.stop() == 0
    assert "stopped" in server.log()


def test_sighup_reads_the_log_level(server):
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "read anew" in server.log(), what="reload")
    assert server.get("/health").status_code == 200


def test_live_state_is_back_after_a_restart(server):
    load_quotes(server)
    load_trades(server, 3)
    server.kill()
    server.start()
    current = server.get("/api/metrics/current").json()
    assert current["market_data"]["symbols"]["AAPL"]["last_price"] == 129.0
    assert server.get("/api/metrics/symbols").json() == {"symbols": ["AAPL", "MSFT"], "count": 2}
