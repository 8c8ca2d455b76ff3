"""A year's worth in one place: many sealed rows and some hot ones. How long a start takes, behind kill -9 and behind a clean stop;
what memory questions over all of it take under a limit; bytes a sample on disk."""
import os
import statistics
import time

from harness import disk_mb, load, own_server, peak_anon_mb, rss_mb, table

DAY_US = 86_400_000_000
LIMIT_MB = 512
QUESTIONS = [
    ("count", "SELECT count(*) FROM samples"),
    ("average, extremes, deviation of all rows", "SELECT avg(value), min(value), max(value), stddev(value) FROM samples"),
    ("by series and day, all rows", "SELECT series_id, date_trunc('day', timestamp) d, avg(value), count(*) FROM samples GROUP BY ALL "
     "ORDER BY 1, 2 LIMIT 10"),
    ("p95 by series, all rows, estimated (approx_quantile)",
     "SELECT series_id, approx_quantile(value, 0.95) FROM samples GROUP BY 1 ORDER BY 1 LIMIT 10"),
    ("p95 by series, all rows, exact by counting (docs/sql.md)",
     "WITH counted AS (SELECT series_id, value, count(*) AS n FROM samples GROUP BY ALL), "
     "ranked AS (SELECT *, sum(n) OVER (PARTITION BY series_id ORDER BY value) AS upto, sum(n) OVER (PARTITION BY series_id) AS total FROM counted) "
     "SELECT series_id, min(value) FILTER (upto >= 0.95 * total) AS p95 FROM ranked GROUP BY 1 ORDER BY 1 LIMIT 10"),
    ("p95 by series, all rows, quantile_cont (keeps every value)",
     "SELECT series_id, quantile_cont(value, 0.95) FROM samples GROUP BY 1 ORDER BY 1 LIMIT 10"),
    ("last point of every series", "SELECT series_id, arg_max(value, timestamp) FROM samples GROUP BY 1 LIMIT 10"),
]


def settled(server):
    while True:
        health = server.get("/health").json()
        if health["applied_lsn"] == health["durable_lsn"]:
            return
        time.sleep(0.2)


def seal(server):
    ticket = server.post("/api/v1/admin/seal").json()["ticket"]
    while True:
        status = server.get("/api/v1/admin/cold").json()
        if status["done"] >= ticket:
            return status
        time.sleep(0.5)


def bench_cold(args, scratch):
    cold, hot = (8_640_000, 1_000_000) if args.quick else (103_680_000, 10_000_000)
    server = own_server(scratch, "--set", f"storage.duckdb.memory_limit={LIMIT_MB}MB", "--set", "storage.cold.enabled=false")
    server.start()
    today = int(time.time()) * 1_000_000 // DAY_US * DAY_US
    begin = time.monotonic()
    days = cold // 8_640_000
    load(server.port, batch=10000, connections=1, rows=cold, series=1000, step_us=10_000_000, start_us=today - (days + 4) * DAY_US)
    settled(server)
    filled = time.monotonic() - begin
    begin = time.monotonic()
    status = seal(server)
    sealing = time.monotonic() - begin
    load(server.port, batch=10000, connections=1, rows=hot, series=1000, step_us=10_000_000, start_us=today - 2 * DAY_US)
    settled(server)
    starts = []
    for how in (server.kill, server.stop):
        how()
        server.start(wait=False)
        starts.append(server.wait_ready())
    pid = server.process.pid
    rows = [["rows sealed", f"{status['rows_sealed']}"], ["rows hot", f"{hot}"], ["loading the rows to be sealed, s", f"{filled:.0f}"],
            ["sealing them, s", f"{sealing:.0f}"], ["start behind kill -9, s", f"{starts[0]:.2f}"],
            ["start behind a clean stop, s", f"{starts[1]:.2f}"], ["memory behind the start, MB", f"{rss_mb(pid):.0f}"]]
    for name, sql in QUESTIONS:
        took, ends = [], set()
        with peak_anon_mb(pid) as peak:
            for _ in range(3):
                begin = time.monotonic()
                answer = server.session.post(f"{server.url}/api/v1/sql", json={"sql": sql}, timeout=120)
                took.append((time.monotonic() - begin) * 1000)
                ends.add("" if answer.ok else f", ended: {answer.status_code} {answer.json()['code']}")
        rows.append([f"{name}, ms (peak of memory, MB)", f"{statistics.median(took):.0f} ({peak[0]:.0f}{''.join(sorted(ends))})"])
    most = [line.split()[1] for line in server.get("/metrics").text.splitlines() if line.startswith("eider_memory_max_bytes ")]
    rows.append([f"memory behind the questions, MB (DuckDB's limit: {LIMIT_MB}, the process's: {float(most[0]) / 1e6:.0f})" if most else
                 "memory behind the questions, MB", f"{rss_mb(pid):.0f} (peak {rss_mb(pid, 'VmHWM'):.0f}, with pages of files)"])
    raw = sum(t["bytes"] for t in status["tables"] if t["kind"] == "raw") / max(status["rows_sealed"], 1)
    all_kinds = sum(t["bytes"] for t in status["tables"]) / max(status["rows_sealed"], 1)
    rows.append(["bytes a sealed sample (with rollups)", f"{raw:.2f} ({all_kinds:.2f})"])
    rows.append(["bytes a sample, everything but the log", f"{(disk_mb(os.path.join(server.data_dir, 'cold')) + disk_mb(os.path.join(server.data_dir, 'eider.duckdb'))) * 1e6 / (cold + hot):.2f}"])
    table("Cold data", ["what", ""], rows)
    server.close()
