"""The five query shapes of the guide that Eider's users come from, beside PostgreSQL with sensible indexes: the same rows in
both, the same questions, in one run; the answers are compared before the times are.

Time is that inside the server: Eider's elapsed_ms, PostgreSQL's EXPLAIN (ANALYZE, TIMING OFF) execution time, which leaves out
the sending of the answer in both. Eider's days are sealed as they would be (all but the last two)."""
import datetime
import gzip
import json
import math
import os
import random
import re
import statistics
import urllib.request

from harness import Postgres, disk_mb, own_server, table

METRICS = ["price", "volume", "spread", "latency", "pnl", "position", "orders", "fills", "cpu", "memory"]
SYMBOLS = [f"S{n:03d}" for n in range(100)]
STEP_S, BATCH = 60, 60
FIRST = 1_767_225_600  # 2026-01-01 00:00 UTC
ROUNDS = 9

# {b} begins the last hour, {d} the last day; both are literals in both dialects. {bucket} is 5 minutes of the time column.
SHAPES = [
    ("simple SELECT: one metric, all symbols, an hour", 3,
     "SELECT timestamp, symbol, value FROM trading_metrics WHERE metric_name = 'price' AND timestamp >= {b}"),
    ("aggregates: one metric by symbol, a day", 10,
     "SELECT symbol, avg(value), min(value), max(value), count(*) FROM trading_metrics WHERE metric_name = 'price' AND "
     "timestamp >= {d} GROUP BY symbol ORDER BY symbol"),
    ("time buckets: one metric, 5 minutes, by symbol, a day", 10,
     "SELECT {bucket} AS bucket, symbol, avg(value), max(value) FROM trading_metrics WHERE metric_name = 'price' AND "
     "timestamp >= {d} GROUP BY 1, 2 ORDER BY 1, 2"),
    ("complex join: price with volume by symbol and time, a day, weighted by hour", 10,
     "SELECT p.symbol, date_trunc('hour', p.timestamp) AS hour, sum(p.value * v.value) / sum(v.value) AS vwap, count(*) "
     "FROM trading_metrics p JOIN trading_metrics v ON v.symbol = p.symbol AND v.timestamp = p.timestamp "
     "WHERE p.metric_name = 'price' AND v.metric_name = 'volume' AND p.timestamp >= {d} AND v.timestamp >= {d} "
     "GROUP BY 1, 2 ORDER BY 1, 2"),
    ("OLAP: average, p95, deviation by metric, symbol and day, all rows", 20,
     "SELECT metric_name, symbol, date_trunc('day', timestamp) AS day, avg(value), {p95}, stddev(value) FROM trading_metrics "
     "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"),
]


def rows_of(count):
    """Batches of (epoch second, metric, symbol, value): a random walk each, two decimals."""
    walk = random.Random(7)
    values = {(m, s): 100.0 + 10 * i for i, m in enumerate(METRICS) for s in SYMBOLS}
    for start in range(0, count // (len(METRICS) * len(SYMBOLS)), BATCH):
        rows = []
        for step in range(start, start + BATCH):
            for key in values:
                values[key] = round(max(1.0, values[key] + walk.gauss(0, 0.5)), 2)
                rows.append((FIRST + step * STEP_S, *key, values[key]))
        yield rows


def fill(server, pg, count):
    pg.psql("CREATE TABLE trading_metrics (timestamp TIMESTAMP NOT NULL, metric_name TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, "
            "symbol TEXT, labels JSONB)")
    last = 0
    for rows in rows_of(count):
        lines = "\n".join(f"{m},symbol={s} value={v} {t}" for t, m, s, v in rows).encode()
        request = urllib.request.Request(f"{server.url}/write?precision=s", gzip.compress(lines, 1), {"Content-Encoding": "gzip"})
        urllib.request.urlopen(request)
        pg.psql("COPY trading_metrics (timestamp, metric_name, value, symbol) FROM STDIN",
                "".join(f"{stamp(t)}\t{m}\t{v}\t{s}\n" for t, m, s, v in rows).encode())
        last = rows[-1][0]
    pg.psql("CREATE INDEX ON trading_metrics (metric_name, symbol, timestamp); CREATE INDEX ON trading_metrics (timestamp)")
    pg.psql("VACUUM ANALYZE trading_metrics")
    return last


def stamp(second):
    return datetime.datetime.fromtimestamp(second, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def same(ours, theirs):
    """Whether two cells are equal: numbers to 9 digits, for sums may be added up in another order."""
    try:
        return math.isclose(float(ours), float(theirs), rel_tol=1e-9)
    except (TypeError, ValueError):
        return str(ours).replace("T", " ") == str(theirs)


def answers_agree(server, pg, ours, theirs):
    left = server.sql(ours)
    right = [line.split("|") for line in pg.psql(theirs).stdout.decode().splitlines()]
    left, right = sorted(map(list, left), key=str), sorted(right, key=str)
    return len(left) == len(right) and all(same(a, b) for x, y in zip(left, right) for a, b in zip(x, y))


def our_ms(server, sql):
    return statistics.median(server.post("/api/v1/sql", json={"sql": sql}).json()["elapsed_ms"] for _ in range(ROUNDS))


def their_ms(pg, sql):
    took = []
    for _ in range(ROUNDS):
        plan = pg.psql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}").stdout
        took.append(json.loads(plan)[0]["Execution Time"])
    return statistics.median(took)


def bench_shapes(args, scratch):
    count = 1_200_000 if args.quick else 10_080_000
    server, pg = own_server(scratch), Postgres(scratch)
    try:
        server.start()
        last = fill(server, pg, count)
        seal = server.session.post(f"{server.url}/api/v1/admin/seal", timeout=600)
        sealed = seal.json() if seal.ok else {}
        words = {"b": f"TIMESTAMP '{stamp(last - 3540)}'", "d": f"TIMESTAMP '{stamp(last - 86340)}'"}
        rows = []
        for name, wanted, sql in SHAPES:
            ours = sql.format(bucket="time_bucket(INTERVAL 5 MINUTE, timestamp)", p95="quantile_cont(value, 0.95)", **words)
            theirs = sql.format(bucket="date_bin(INTERVAL '5 minutes', timestamp, TIMESTAMP '2000-01-03')",
                                p95="percentile_cont(0.95) WITHIN GROUP (ORDER BY value)", **words)
            agree = "yes" if answers_agree(server, pg, ours, theirs) else "NO"
            mine, other = our_ms(server, ours), their_ms(pg, theirs)
            rows.append([name, f"{mine:.1f}", f"{other:.1f}", f"{other / mine:.1f}x", f"{wanted}x", agree])
        table(f"Five query shapes on {count} rows (sealed: {json.dumps(sealed)[:80]})",
              ["shape", "Eider ms", "PostgreSQL ms", "ratio", "wanted", "answers agree"], rows)
        size = int(re.search(rb"\d+", pg.psql("SELECT pg_total_relation_size('trading_metrics')").stdout)[0]) / 1e6
        kept = sum(disk_mb(os.path.join(server.data_dir, part)) for part in ("eider.duckdb", "cold")
                   if os.path.exists(os.path.join(server.data_dir, part)))
        table("Their space", ["Eider MB (database and cold files)", "PostgreSQL MB (table and indexes)"], [[f"{kept:.0f}", f"{size:.0f}"]])
    finally:
        server.close()
        pg.stop()
