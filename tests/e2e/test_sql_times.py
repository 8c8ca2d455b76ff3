"""Times in users' SQL: now() means the same wherever the machine is, and recent rows are the same from memory and the database."""
import time

import pytest

from eider import Server

MINUTES = 180
FITTING = range(100, 121, 2)  # 120, but for minutes that end meanwhile


@pytest.fixture(scope="module", params=["UTC", "America/New_York", "Asia/Kolkata"])
def server(request):
    """A row a minute of two series up to now, on a machine of some time zone."""
    s = Server("--set", "collect.system=false", env={"TZ": request.param})
    s.start()
    now = int(time.time())
    lines = "\n".join(f"price,symbol={symbol} value={minute} {now - 60 * minute - 30}"
                      for minute in range(MINUTES) for symbol in ("A", "B"))
    assert s.session.post(f"{s.url}/write?precision=s&ack=applied", data=lines, timeout=60).status_code == 204
    yield s
    s.close()


@pytest.mark.parametrize("since", ["now() - INTERVAL '1 hour'", "now() - INTERVAL 60 MINUTES", "current_timestamp - INTERVAL '1' HOUR",
                                   "now()::TIMESTAMP - INTERVAL 1 HOUR", "current_localtimestamp() - INTERVAL 1 HOUR"])
def test_an_hour_back_from_now_is_an_hour(server, since):
    where = f"WHERE metric_name = 'price' AND timestamp >= {since}"
    assert server.sql(f"SELECT count(*) FROM trading_metrics {where}")[0][0] in FITTING
    rows = server.sql(f"SELECT timestamp, symbol, value FROM trading_metrics {where} ORDER BY timestamp")
    assert len(rows) in FITTING
    assert [row[2] for row in rows[::2]] == sorted((row[2] for row in rows[::2]), reverse=True)
    assert {row[1] for row in rows} == {"A", "B"}


def hits(server):
    return int(next(line for line in server.get("/metrics").text.splitlines() if line.startswith("eider_hot_cache_hits_total")).split()[-1])


def test_rows_asked_for_again_come_from_memory_and_are_the_same(server):
    sql = ("SELECT timestamp AS time, symbol, value FROM trading_metrics WHERE metric_name = 'price' AND symbol = 'B' "
           "AND timestamp >= now() - INTERVAL '100 minutes' ORDER BY time DESC LIMIT 50")
    first = server.sql(sql)
    before = hits(server)
    assert server.sql(sql) == first and len(first) == 50
    assert hits(server) == before + 1
    # The same from the database: an expression is none of the statements that memory answers.
    assert server.sql(sql.replace("value FROM", "value + 0 AS value FROM")) == first
    assert hits(server) == before + 1
