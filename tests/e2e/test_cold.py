"""Cold data and retention as users see them: the same answers before and after sealing by every path, late and replaced rows of
sealed days, rules by age, size and pattern, receipts, and space that comes back."""
import datetime
import os
import re

import pytest

from eider import Server, run, wait_for

MANUAL = ["--set", "collect.system=false", "--set", "storage.cold.enabled=false", "--set", "storage.duckdb.query_timeout=5s"]
TODAY = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
DAYS, MINUTES = 6, 200  # the oldest day is DAYS + 3 days ago


def at(day, minute, second=0):
    return (TODAY - datetime.timedelta(days=DAYS + 3 - day) + datetime.timedelta(minutes=minute, seconds=second)).isoformat()


def write(server, table, rows):
    answer = server.ingest(table, rows, ack="applied")
    assert answer.status_code in (200, 202) and answer.json()["rejected"] == 0, answer.text


def trade(day, i, price):
    return {"trade_id": f"t{day}-{i}", "symbol": "BTC", "side": "buy", "quantity": 1, "price": price, "timestamp": at(day, i)}


def fill(server):
    for day in range(DAYS):
        write(server, "metrics", [{"metric_name": name, "symbol": "BTC", "value": i * (day + 1), "timestamp": at(day, i)}
                                  for i in range(MINUTES) for name in ("pnl", "noise_a", "noise_b")])
        write(server, "trades", [trade(day, i, 100 + i) for i in range(MINUTES)])
        write(server, "market_data", [{"timestamp": at(day, i), "symbol": "BTC", "last_price": 100 + i + day, "volume": i} for i in range(MINUTES)])
        events = [{"api_name": "birdeye", "endpoint": "/x", "status_code": 200, "success": True, "credits_cost": 2, "timestamp": at(day, i)}
                  for i in range(20)]
        assert server.post("/api/v1/events", json=events).status_code == 200
    applied(server)


def applied(server):
    wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), 60, "the log")


def work(server, path, **params):
    answer = server.post(f"/api/v1/admin/{path}", params=params)
    assert answer.status_code == 202, answer.text
    ticket = answer.json()["ticket"]
    status = wait_for(lambda: (lambda s: s if s["done"] >= ticket else None)(server.get("/api/v1/admin/cold").json()), 60, path)
    assert status["outcome"] is None, status
    applied(server)  # receipts are written through the log
    return status


def answers(server):
    """What users ask, by every path."""
    def page(path, **params):
        answer = server.get(path, params=params)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()
    history = server.post("/api/metrics/history", json={"metric": "market_data", "symbol": "BTC", "start_time": at(0, 0), "end_time": at(DAYS, 0),
                                                        "interval": "1h"})
    assert history.status_code == 200, history.text
    stats = page("/api/v1/events/stats")
    return {
        "sql": server.sql("SELECT metric_name, count(*), sum(value), min(timestamp)::VARCHAR, max(timestamp)::VARCHAR FROM trading_metrics GROUP BY 1 ORDER BY 1"),
        "days": server.sql("SELECT timestamp::DATE::VARCHAR, count(*), sum(price) FROM trades GROUP BY 1 ORDER BY 1"),
        "buckets": server.sql("SELECT time_bucket(INTERVAL '5 minutes', timestamp)::VARCHAR AS t, first(last_price ORDER BY timestamp), max(last_price) "
                              "FROM market_data GROUP BY 1 ORDER BY 1"),
        "history": {key: value for key, value in history.json().items() if key in ("data", "points", "metric", "symbol", "interval")},
        "trades": page("/api/trades", limit=50, start_time=at(1, 0), end_time=at(4, 0)),
        "old trades": page("/api/trades", limit=1000, end_time=at(1, 0))["trades"],
        "trade": page("/api/trades/t2-7"),
        "events": [event["id"] for event in page("/api/v1/events", limit=1000)["events"]],
        "stats": {key: stats[key] for key in ("total_events", "total_credits", "error_count")},
        "latest": page("/api/metrics/points/last") if server.get("/api/metrics/points/last").status_code == 200 else None,
    }


def disk(path):
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(path) for name in names)


def test_sealing_changes_no_answer():
    with Server(*MANUAL) as server:
        fill(server)
        before = answers(server)
        plan = server.post("/api/v1/admin/seal", params={"dry_run": "true"}).json()
        assert len(plan["days"]) == 4 * DAYS and plan["rows"] == DAYS * (5 * MINUTES + 20)
        status = work(server, "seal")
        assert status["days_sealed"] == 4 * DAYS and status["rows_sealed"] == plan["rows"]
        after = answers(server)
        for path, answer in before.items():
            assert after[path] == answer, path
        assert server.post("/api/v1/admin/seal", params={"dry_run": "true"}).json()["days"] == []
        assert run("eventlog", "verify", "--data-dir", server.data_dir).returncode == 0
        server.stop()
        server.start()
        assert answers(server) == before
        [told] = [line for line in server.log().splitlines() if "database default started in" in line][-1:]
        assert re.search(r"started in [0-9.]+ s: .*\bdatabase [0-9.]+", told), told
        server.stop()
        # The manifest is for people; check and the stopped directory agree with it.
        checked = run("check", "--data-dir", server.data_dir)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_late_and_replaced_rows_of_sealed_days():
    with Server(*MANUAL, "--set", "storage.cold.merge_files=2") as server:
        fill(server)
        work(server, "seal", table="trades")
        work(server, "seal", table="metrics")
        write(server, "trades", [trade(1, 7, 1000)])  # replaces: the day is unsealed
        assert server.get("/api/trades/t1-7").json()["price"] == 1000
        assert server.sql("SELECT count(*), sum(price) FROM trades WHERE trade_id LIKE 't1-%'") == [[MINUTES, sum(100 + i for i in range(MINUTES)) - 107 + 1000]]
        for late in range(4):  # late samples: a file more each time, until the day is merged
            write(server, "metrics", [{"metric_name": "late", "value": late, "timestamp": at(1, 1000 + late)}])
            assert server.sql("SELECT count(*) FROM trading_metrics WHERE metric_name = 'late'") == [[late + 1]]
            work(server, "seal")
            assert server.sql("SELECT count(*) FROM trading_metrics WHERE metric_name = 'late'") == [[late + 1]]
        raw = {(entry["table"], entry["kind"]): entry for entry in server.get("/api/v1/admin/cold").json()["tables"]}
        assert raw["samples", "raw"]["days"] == DAYS and raw["samples", "raw"]["files"] <= DAYS + 1
        assert raw["trades", "raw"]["rows"] == DAYS * MINUTES
        assert server.get("/api/v1/admin/cold").json()["days_merged"] >= 1


def test_days_are_sealed_by_themselves():
    with Server("--set", "collect.system=false") as server:
        fill(server)
        server.stop()
        server.start()  # the first round is at once
        status = wait_for(lambda: (lambda s: s if s["days_sealed"] == 4 * DAYS else None)(server.get("/api/v1/admin/cold").json()), 90, "sealed days")
        assert status["problem"] is None
        page = server.get("/metrics").text
        assert f'eider_cold_days{{table="trades",kind="raw"}} {DAYS}' in page and f"eider_cold_seals_total {4 * DAYS}" in page


def test_retention_by_age_drops_what_the_plan_said_and_gives_space_back():
    rules = "table=trades max_age=5d,table=metrics rollup=raw max_age=5d,table=metrics rollup=1m max_age=7d"
    with Server(*MANUAL, "--set", f"retention={rules}") as server:
        fill(server)
        work(server, "seal")
        before = disk(server.data_dir + "/cold")
        trades, samples = server.sql("SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM samples)")[0]
        planned = run("retention", "--json", "--data-dir", server.data_dir)
        assert planned.returncode == 0 and '"dry_run":true' in planned.stdout
        plan = server.post("/api/v1/admin/retention", params={"dry_run": "true"}).json()
        doomed = [path for step in plan["steps"] for path in step["files"]]
        assert doomed and all(os.path.exists(f"{server.data_dir}/cold/{path}") for path in doomed)
        assert server.sql("SELECT count(*) FROM trades") == [[trades]]  # a plan drops nothing
        work(server, "retention")
        assert not [path for path in doomed if os.path.exists(f"{server.data_dir}/cold/{path}")]
        assert disk(server.data_dir + "/cold") <= before - plan["bytes"]
        left = server.sql("SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM samples)")[0]
        rows = {table: sum(step["rows"] for step in plan["steps"] if step["table"] == table and step["action"] != "drop rollup")
                for table in ("trades", "samples")}
        assert left == [trades - rows["trades"], samples - rows["samples"]] and rows["trades"] > 0 and rows["samples"] > 0
        # The coarser rollups live on: hourly history of the days whose rows are gone.
        kinds = {entry["kind"]: entry["days"] for entry in server.get("/api/v1/admin/cold").json()["tables"] if entry["table"] == "samples"}
        assert kinds["1h"] == DAYS and kinds["raw"] < kinds["1m"] < kinds["1h"]
        receipts = server.sql("SELECT action, table_name, kind, day, files, rows, bytes, rule FROM retention_receipts")
        assert sorted(receipts) == sorted([step["action"], step["table"], step["kind"], step["day"], len(step["files"]), step["rows"], step["bytes"],
                                           step["rule"]] for step in plan["steps"])
        assert server.post("/api/v1/admin/retention", params={"dry_run": "true"}).json()["steps"] == []
        listed = run("retention", "receipts", "--data-dir", server.data_dir)
        assert listed.returncode == 0 and f"({len(plan['steps'])} rows)" in listed.stdout


def test_retention_by_pattern_leaves_the_other_metrics():
    rules = "table=metrics metric=noise_a max_age=30d,table=metrics metric=noise_* rollup=raw max_age=5d"
    with Server(*MANUAL, "--set", f"retention={rules}") as server:
        fill(server)
        work(server, "seal")
        plan = server.post("/api/v1/admin/retention", params={"dry_run": "true"}).json()
        assert {name for step in plan["steps"] for name in step["metrics"]} == {"noise_b"}
        before = dict(server.sql("SELECT metric_name, count(*) FROM trading_metrics GROUP BY 1"))
        work(server, "retention")
        after = dict(server.sql("SELECT metric_name, count(*) FROM trading_metrics GROUP BY 1"))
        assert before["noise_b"] - after["noise_b"] == plan["rows"] > 0
        assert after["noise_a"] == before["noise_a"] and after["pnl"] == before["pnl"]
        assert server.sql("SELECT sum(rows)::BIGINT FROM retention_receipts") == [[plan["rows"]]]


def test_a_day_that_goes_by_several_rules_is_booked_to_all_of_them():
    raw, minutes, all_of_it = ("table=metrics rollup=raw max_age=3d", "table=metrics rollup=1m max_age=4d", "table=metrics max_age=5d")
    with Server(*MANUAL, "--set", f"retention={raw},table=trades max_age=9000d,{minutes},{all_of_it}") as server:
        fill(server)
        work(server, "seal", table="samples")
        plan = server.post("/api/v1/admin/retention", params={"dry_run": "true"}).json()
        whole = [step for step in plan["steps"] if step["action"] == "drop day"]
        assert whole and {step["rule"] for step in whole} == {"; ".join([raw, minutes, all_of_it])}
        rows = [step for step in plan["steps"] if step["action"] == "drop rows"]
        assert rows and {step["rule"] for step in rows} == {raw}
        shown = run("retention", "--data-dir", server.data_dir)
        assert f"by {raw}; {minutes}; {all_of_it}\n" in shown.stdout
        work(server, "retention")
        receipts = server.sql("SELECT action, day, rule FROM retention_receipts")
        assert sorted(receipts) == sorted([step["action"], step["day"], step["rule"]] for step in plan["steps"])


def test_retention_by_size_takes_the_oldest_days():
    with Server(*MANUAL) as server:
        fill(server)
        work(server, "seal", table="market_data")
        [table] = [entry for entry in server.get("/api/v1/admin/cold").json()["tables"] if (entry["table"], entry["kind"]) == ("market_data", "raw")]
        server.stop()
        server.args += ["--set", f"retention=table=market_data rollup=raw max_bytes={table['bytes'] // 2}"]
        server.start()
        work(server, "retention")
        days = [day for [day] in server.sql("SELECT DISTINCT timestamp::DATE::VARCHAR FROM market_data ORDER BY 1")]
        assert days == [at(day, 0)[:10] for day in range(DAYS)][-len(days):] and 0 < len(days) < DAYS
        [table_after] = [entry for entry in server.get("/api/v1/admin/cold").json()["tables"]
                         if (entry["table"], entry["kind"]) == ("market_data", "raw")]
        assert table_after["bytes"] <= table["bytes"] // 2


def test_the_event_log_is_dropped_only_when_a_rule_says_so():
    with Server(*MANUAL, "--set", "retention=max_age=5d") as server:
        fill(server)
        work(server, "seal")
        work(server, "retention")
        assert server.get("/api/v1/events/stats").json()["total_events"] == 20 * DAYS
        server.stop()
        server.args[-1] = "retention=table=api_event_log max_age=5d even_event_log=true"
        server.start()
        work(server, "retention")
        server.stop()
        server.start()
        kept = server.get("/api/v1/events/stats").json()["total_events"]
        assert 0 < kept < 20 * DAYS
        verified = run("eventlog", "verify", "--data-dir", server.data_dir)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert f"the chain begins at entry {20 * DAYS - kept + 1}" in verified.stderr


@pytest.mark.parametrize("rule, says", [("table=api_event_log max_age=5d", "even_event_log=true"), ("table=trades", "max_age, max_bytes"),
                                        ("table=trades max_age=5", 'max_age is "5"'), ("table=series max_age=5d", "sealed")])
def test_a_rule_that_makes_no_sense_is_refused_at_start(rule, says, tmp_path):
    refused = run("serve", "--data-dir", str(tmp_path / "data"), "--set", f"retention={rule}")
    assert refused.returncode == 2 and says in refused.stderr


def test_seal_and_retention_of_a_stopped_directory():
    with Server(*MANUAL) as server:
        fill(server)
        before = answers(server)
        server.stop()
        done = run("seal", "--data-dir", server.data_dir, "--before", at(3, 0), "--table", "trades")
        assert done.returncode == 0 and done.stdout.endswith(f"3 days, {3 * MINUTES} rows\n"), done.stdout + done.stderr
        config = os.path.join(server.data_dir, "rules.yaml")
        with open(config, "w") as file:
            file.write("retention:\n  - {table: market_data, max_age: 5d}\n")
        planned = run("retention", "run", "--dry-run", "--config", config, "--data-dir", server.data_dir)
        assert planned.returncode == 0 and "would drop day of market_data" in planned.stdout
        done = run("retention", "run", "--config", config, "--data-dir", server.data_dir)
        assert done.returncode == 0 and "drop day of market_data" in done.stdout
        server.start()
        after = answers(server)
        assert after["days"] == before["days"] and after["sql"] == before["sql"] and len(after["buckets"]) < len(before["buckets"])


def test_days_with_few_rows_stay_in_the_database_until_they_are_asked_for():
    candles = [{"timestamp": at(day, 0), "symbol": "SPX", "open": 1, "high": 2, "low": 1, "close": 2, "volume": day} for day in range(DAYS)]
    with Server(*MANUAL, env={"EIDER_STORAGE_COLD_MIN_ROWS": "100"}) as server:
        fill(server)
        write(server, "candles", candles)
        work(server, "seal")
        sealed = {table["table"] for table in server.get("/api/v1/admin/cold").json()["tables"]}
        assert {"trades", "market_data"} <= sealed and "candles" not in sealed
        done = run("seal", "--small", "--data-dir", server.data_dir)
        assert done.returncode == 0 and done.stdout.count("candles") == DAYS, done.stdout + done.stderr
        assert "candles" in {table["table"] for table in server.get("/api/v1/admin/cold").json()["tables"]}
        assert server.sql("SELECT count(*) FROM candles") == [[DAYS]]


def test_days_beyond_one_run_are_told(tmp_path):
    data = str(tmp_path / "data")
    first = datetime.date(2010, 1, 1)

    def load(table, days, columns, values):
        path = tmp_path / f"{table}.csv"
        path.write_text(f"timestamp,symbol,{columns}\n" + "".join(f"{first + datetime.timedelta(i)}T00:00:00Z,SPX,{values}\n" for i in range(days)))
        done = run("import", str(path), "--table", table, "--data-dir", data)
        assert done.returncode == 0, done.stderr

    load("candles", 4100, "open,high,low,close,volume", "1,2,0.5,1.5,10")
    load("market_data", 3, "last_price", "1")
    for options, days, more in [([], 4096, True), (["--table", "candles"], 4096, True), (["--before", "2021-03-01"], 4080, False)]:
        done = run("seal", "--small", "--dry-run", "--data-dir", data, *options)
        assert done.returncode == 0 and f"{days} days" in done.stdout, done.stderr
        assert ("there are more" in done.stdout) == more, (options, done.stdout[-300:])
    # The days of a table that is asked for are not crowded out by those of the others.
    for table in ("candles", "market_data"):
        done = run("seal", "--small", "--dry-run", "--data-dir", data, "--table", table)
        assert f"would seal {table} of 2010-01-01" in done.stdout, done.stdout[-300:]
