"""The five query shapes of the guide that Eider's users come from, beside PostgreSQL with sensible indexes: the same rows in
both, the same questions, in one run; the answers are compared, too.

The rows end now and Eider seals what it seals by default, and is waited for: the last two days are hot, those before are files.
So the questions are asked twice, of the last hour and day, and of an hour and a day that are sealed. Every round asks for times
that begin before those of the round before (but for the OLAP shape, which has none), so that no answer, no plan and nothing
cached of it does. Rows of the last hour are then asked for again, as a chart does: the hot cache has them.

Time is that inside the server: Eider's elapsed_ms, which is parsing, planning, running and gathering the answer; PostgreSQL's
EXPLAIN (ANALYZE, TIMING OFF), planning and execution, which is without parsing and without an answer; sending is in neither. And
that of a client on one connection, which throws the answer away: HTTP with JSON, psql with \\timing."""
import datetime
import gzip
import json
import math
import os
import random
import re
import statistics
import time
import urllib.request

from cold import seal, settled
from harness import Postgres, disk_mb, own_server, table

METRICS = ["price", "volume", "spread", "latency", "pnl", "position", "orders", "fills", "cpu", "memory"]
SYMBOLS = [f"S{n:03d}" for n in range(100)]
STEP_S, BATCH = 60, 60
ROUNDS, ROUNDS_OF_ALL = 9, 3

# {hour} and {day} are conditions on the time, {p_day} and {v_day} those of a join; {bucket} is 5 minutes of the time column.
SHAPES = [
    ("simple SELECT: one metric, all symbols, an hour", 3,
     "SELECT timestamp, symbol, value FROM trading_metrics WHERE metric_name = 'price' AND {hour}"),
    ("aggregates: one metric by symbol, a day", 10,
     "SELECT symbol, avg(value), min(value), max(value), count(*) FROM trading_metrics WHERE metric_name = 'price' AND "
     "{day} GROUP BY symbol ORDER BY symbol"),
    ("time buckets: one metric, 5 minutes, by symbol, a day", 10,
     "SELECT {bucket} AS bucket, symbol, avg(value), max(value) FROM trading_metrics WHERE metric_name = 'price' AND "
     "{day} GROUP BY 1, 2 ORDER BY 1, 2"),
    ("complex join: price with volume by symbol and time, a day, weighted by hour", 10,
     "SELECT p.symbol, date_trunc('hour', p.timestamp) AS hour, sum(p.value * v.value) / sum(v.value) AS vwap, count(*) "
     "FROM trading_metrics p JOIN trading_metrics v ON v.symbol = p.symbol AND v.timestamp = p.timestamp "
     "WHERE p.metric_name = 'price' AND v.metric_name = 'volume' AND {p_day} AND {v_day} "
     "GROUP BY 1, 2 ORDER BY 1, 2"),
    ("OLAP: average, p95, deviation by metric, symbol and day, all rows", 20,
     "SELECT metric_name, symbol, date_trunc('day', timestamp) AS day, avg(value), {p95}, stddev(value) FROM trading_metrics "
     "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"),
]


def rows_of(first, count):
    """Batches of (epoch second, metric, symbol, value): a random walk each, two decimals."""
    walk = random.Random(7)
    values = {(m, s): 100.0 + 10 * i for i, m in enumerate(METRICS) for s in SYMBOLS}
    for start in range(0, count // (len(METRICS) * len(SYMBOLS)), BATCH):
        rows = []
        for step in range(start, start + BATCH):
            for key in values:
                values[key] = round(max(1.0, values[key] + walk.gauss(0, 0.5)), 2)
                rows.append((first + step * STEP_S, *key, values[key]))
        yield rows


def fill(server, pg, first, count):
    pg.psql("CREATE TABLE trading_metrics (timestamp TIMESTAMP NOT NULL, metric_name TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, "
            "symbol TEXT, labels JSONB)")
    last = 0
    for rows in rows_of(first, count):
        lines = "\n".join(f"{m},symbol={s} value={v} {t}" for t, m, s, v in rows).encode()
        request = urllib.request.Request(f"{server.url}/write?precision=s", gzip.compress(lines, 1), {"Content-Encoding": "gzip"})
        urllib.request.urlopen(request)
        pg.psql("COPY trading_metrics (timestamp, metric_name, value, symbol) FROM STDIN",
                data="".join(f"{stamp(t)}\t{m}\t{v}\t{s}\n" for t, m, s, v in rows).encode())
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


def between(column, begin, end):
    """A condition on the time; `end` None: up to now."""
    until = f" AND {column} < TIMESTAMP '{stamp(end)}'" if end else ""
    return f"{column} >= TIMESTAMP '{stamp(begin)}'{until}"


def questions(shape, last, sealed, earlier):
    """A shape in both dialects, of times `earlier` minutes before the last, or before the end of a sealed day."""
    end = (sealed or last + STEP_S) - earlier * STEP_S
    hour, day, until = end - 3600, end - 86400, end if sealed else None
    words = {"hour": between("timestamp", hour, until), "day": between("timestamp", day, until),
             "p_day": between("p.timestamp", day, until), "v_day": between("v.timestamp", day, until)}
    return (shape.format(bucket="time_bucket(INTERVAL 5 MINUTE, timestamp)", p95="quantile_cont(value, 0.95)", **words),
            shape.format(bucket="date_bin(INTERVAL '5 minutes', timestamp, TIMESTAMP '2000-01-03')",
                         p95="percentile_cont(0.95) WITHIN GROUP (ORDER BY value)", **words))


def our_ms(server, asked):
    """Inside the server, and at the client."""
    inside, outside = [], []
    for sql in asked:
        begin = time.perf_counter()
        answer = server.session.post(f"{server.url}/api/v1/sql", json={"sql": sql}, timeout=120).content
        outside.append((time.perf_counter() - begin) * 1000)
        inside.append(float(re.search(rb'"elapsed_ms":([\d.]+)}\s*$', answer)[1]))
    return statistics.median(inside), statistics.median(outside)


def their_ms(pg, asked):
    """The same, the statements on one connection each time."""
    plans = pg.psql(*(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}" for sql in asked)).stdout.decode()
    times = [[float(ms) for ms in re.findall(f"{part} Time: ([\\d.]+)", plans)] for part in ("Planning", "Execution")]
    assert [len(part) for part in times] == [len(asked)] * 2
    return statistics.median(map(sum, zip(*times))), statistics.median(pg.timings(asked))


def bench_questions(server, pg, title, last, sealed):
    rows = []
    for name, wanted, shape in SHAPES:
        of_all = "{hour}" not in shape and "day}" not in shape
        if of_all and sealed:
            continue  # asked already
        asked = [questions(shape, last, sealed, earlier) for earlier in range(ROUNDS_OF_ALL if of_all else ROUNDS)]
        ours, theirs = zip(*asked)
        other, other_client = their_ms(pg, theirs)
        for again in (False, True) if "{hour}" in shape and not sealed else (False,):
            mine, my_client = our_ms(server, ours)
            agree = "yes" if answers_agree(server, pg, *asked[0]) else "NO"
            rows.append([name + (", again" if again else ""), f"{mine:.1f}", f"{other:.1f}", f"{other / mine:.1f}x", f"{wanted}x",
                         f"{my_client:.1f}", f"{other_client:.1f}", f"{other_client / my_client:.1f}x", agree])
    table(title, ["shape", "Eider ms", "PostgreSQL ms", "ratio", "wanted", "Eider client ms", "PostgreSQL client ms", "client ratio",
                  "answers agree"], rows)


def bench_shapes(args, scratch):
    count = 5_040_000 if args.quick else 10_080_000
    server, pg = own_server(scratch), Postgres(scratch)
    try:
        server.start()
        first = int(time.time()) // STEP_S * STEP_S - count // (len(METRICS) * len(SYMBOLS)) * STEP_S
        last = fill(server, pg, first, count)
        settled(server)
        status = seal(server)
        cold = sum(t["rows"] for t in status["tables"] if t["kind"] == "raw")
        bench_questions(server, pg, f"Five query shapes on {count} rows, {cold} of them sealed: the last hour and day", last, None)
        # The end of the first whole day; of few rows, that of the day in which they begin.
        sealed = (first // 86400 + (1 if args.quick else 2)) * 86400
        bench_questions(server, pg, "The same of sealed days", last, sealed)
        size = int(re.search(rb"\d+", pg.psql("SELECT pg_total_relation_size('trading_metrics')").stdout)[0]) / 1e6
        kept = sum(disk_mb(os.path.join(server.data_dir, part)) for part in ("eider.duckdb", "cold")
                   if os.path.exists(os.path.join(server.data_dir, part)))
        table("Their space", ["Eider MB (database and cold files)", "PostgreSQL MB (table and indexes)"], [[f"{kept:.0f}", f"{size:.0f}"]])
    finally:
        server.close()
        pg.stop()
