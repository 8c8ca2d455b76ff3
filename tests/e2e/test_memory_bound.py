"""Statements that need more memory than the server may have are ended with an error that says so; the server lives, goes on acknowledging,
and answers what fits."""
import re
import threading

import pytest

from eider import Server, wait_for

ROWS, BATCH = 400_000, 20_000
MIB = 1 << 20
SMALL = ["--set", "collect.system=false", "--set", "storage.duckdb.memory_limit=96MiB", "--set", "server.memory_max=192MiB",
         "--set", "storage.hot_cache_bytes=0"]
EXACT = """WITH counted AS (SELECT symbol, value, count(*) AS n FROM trading_metrics GROUP BY ALL),
     ranked AS (SELECT *, sum(n) OVER (PARTITION BY symbol ORDER BY value) AS upto, sum(n) OVER (PARTITION BY symbol) AS total FROM counted)
SELECT symbol, min(value) FILTER (upto >= 0.95 * total) AS p95 FROM ranked GROUP BY 1 ORDER BY 1"""


def write(server, first, count):
    lines = "\n".join(f"load,symbol=S{row % 4} value={row % 1000} {1_700_000_000_000_000_000 + row * 1_000_000}" for row in range(first, first + count))
    answer = server.post("/write", data=lines)
    assert answer.status_code == 204, answer.text


def ask(server, sql):
    return server.post("/api/v1/sql", json={"sql": sql})


def figure(server, name):
    return float(re.search(rf"^{name} (\S+)$", server.get("/metrics").text, re.M).group(1))


@pytest.fixture(scope="module")
def server():
    with Server(*SMALL) as running:
        for first in range(0, ROWS, BATCH):
            write(running, first, BATCH)
        wait_for(lambda: running.sql("SELECT count(*) FROM trading_metrics") == [[ROWS]], 60, "the rows")
        yield running


@pytest.mark.parametrize("statement", [
    "SELECT median(i * 1.0) FROM range(200000000) t(i)",  # keeps every value
    "SELECT i % 7, quantile_cont(i * 1.0, 0.95) FROM range(200000000) t(i) GROUP BY 1",
    "SELECT max(length(repeat('x', 2000000000)))",  # one huge value
    "SELECT sum(length(repeat('x', 1000000 + i))) FROM range(100000) t(i)",  # many large ones at once
])
def test_a_statement_that_takes_too_much_is_ended_and_the_server_goes_on(server, statement):
    pid, before = server.process.pid, figure(server, "eider_store_queries_out_of_memory_total")
    answer = ask(server, statement)
    assert answer.status_code == 413, answer.text
    assert answer.json()["code"] == "EIDER_TOO_LARGE"
    assert "server.memory_max" in answer.json()["detail"] and "docs/sql.md" in answer.json()["detail"]
    assert figure(server, "eider_store_queries_out_of_memory_total") == before + 1
    assert figure(server, "eider_memory_max_bytes") == 192 * MIB
    assert server.process.poll() is None and server.process.pid == pid
    assert server.sql("SELECT count(*) FROM trading_metrics WHERE metric_name = 'load'") == [[ROWS]]
    # What was taken is given back: another statement finds room.
    wait_for(lambda: figure(server, "eider_memory_used_bytes") < 160 * MIB, 30, "memory given back")


def test_an_exact_percentile_fits_by_counting(server):
    expected = [[f"S{symbol}", sorted(range(symbol, 1000, 4))[int(0.95 * 250 + 0.999) - 1]] for symbol in range(4)]
    assert server.sql(EXACT) == expected
    for (_, exact), (_, estimate) in zip(expected, server.sql("SELECT symbol, approx_quantile(value, 0.95) FROM trading_metrics GROUP BY 1 ORDER BY 1")):
        assert abs(exact - estimate) < 20


def test_writes_go_on_beside_statements_that_take_too_much(server):
    stop, codes = threading.Event(), []

    def take():
        import requests
        while not stop.is_set():
            codes.append(requests.post(server.url + "/api/v1/sql", json={"sql": "SELECT median(i * 1.0) FROM range(200000000) t(i)"}, timeout=60).status_code)

    rows = server.sql("SELECT count(*) FROM trading_metrics")[0][0]
    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    try:
        for step in range(40):
            write(server, ROWS + step * 500, 500)
            wait_for(lambda: (len(codes) > step // 8), 60, "statements to be ended")
    finally:
        stop.set()
        for taker in takers:
            taker.join()
    assert set(codes) == {413}, codes
    wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), 60, "the log")
    assert server.sql("SELECT count(*) FROM trading_metrics") == [[rows + 40 * 500]]
