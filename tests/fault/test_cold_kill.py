"""kill -9 at every step of sealing, merging, unsealing, retention, collecting, manifest, snapshot and compacting: behind the
next start everything acknowledged is there exactly once, the step is finished or undone, and files and list agree."""
import datetime
import json
import os
import re
import shutil
import subprocess

import pytest

from eider import ROOT, Server, run, wait_for
from small_disk import Ballast, small_disk

SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "storage.cold.enabled=false", "--set", "storage.duckdb.query_timeout=1s"]
RULES = ["--set", "retention=table=metrics metric=noise rollup=raw max_age=20d,table=metrics rollup=raw max_age=38d,table=trades max_age=38d"]
SEALED, HOT, ROWS = 4, 2, 120  # days that are sealed, days behind them that are hot, rows of a day
TODAY = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - datetime.timedelta(days=40)


def points():
    """The names in the table of the program's source, in its order."""
    with open(os.path.join(ROOT, "src/store/failpoint.c")) as file:
        table = re.search(r"failpoint_names\[\] = \{(.*?)NULL", file.read(), re.S).group(1)
    return [name for name in re.findall(r'"([a-z.]+)"', table)
            if name.split(".")[0] in ("seal", "put", "commit", "unseal", "drop", "dropped", "gc", "manifest", "sidecar", "snapshot", "compact", "swap")]


def at(day, minute):
    return (FIRST + datetime.timedelta(days=day, minutes=minute)).isoformat()


def trade(day, i, price):
    return {"trade_id": f"t{day}-{i}", "symbol": "BTC", "side": "buy", "quantity": 1, "price": price, "timestamp": at(day, i)}


def write(server, table, rows):
    answer = server.ingest(table, rows, ack="applied")
    assert answer.status_code in (200, 202) and answer.json()["rejected"] == 0, answer.text


def totals(server):
    """What is there: rows, distinct keys, sums. Rows that are twice or lost show."""
    [samples] = server.sql("SELECT count(*), count(DISTINCT (series_id, timestamp)), sum(value) FROM samples")
    [trades] = server.sql("SELECT count(*), count(DISTINCT trade_id), sum(price) FROM trades")
    assert samples[0] == samples[1] and trades[0] == trades[1]
    return samples + trades


def work(server, path, **params):
    """Asks for work and waits for its end; fails the test when it failed."""
    answer = server.post(f"/api/v1/admin/{path}", params=params)
    assert answer.status_code == 202, answer.text
    ticket = answer.json()["ticket"]
    # The round goes on behind the answer: the manifest is written, files are collected.
    status = wait_for(lambda: (lambda s: s if s["done"] >= ticket and s["state"] in ("idle", "waiting") else None)(server.get("/api/v1/admin/cold").json()), 60, path)
    assert status["outcome"] is None, status
    return status


def settled(server):
    """The first round of maintenance is over."""
    return wait_for(lambda: (lambda s: s if s["rounds"] > 0 else None)(server.get("/api/v1/admin/cold").json()), 60, "a round")


def applied(server):
    wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), 60, "the log")


def check_files(data_dir):
    """The manifest, which the last round wrote, names files that are there with their sizes; nothing is half-written."""
    cold = os.path.join(data_dir, "cold")
    assert os.listdir(os.path.join(cold, "tmp")) == []
    assert not [name for name in os.listdir(cold) if name.endswith(".tmp")]
    assert not os.path.exists(os.path.join(cold, "receipt")) and not os.path.exists(os.path.join(cold, "missing"))
    with open(os.path.join(cold, "manifest.json")) as file:
        listed = {entry["path"]: entry["bytes"] for entry in json.load(file)["files"]}
    there = {os.path.relpath(os.path.join(path, name), cold): os.path.getsize(os.path.join(path, name))
             for path, _, names in os.walk(cold) for name in names if name.endswith(".parquet")}
    assert listed.items() <= there.items()
    return listed, there


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A directory with sealed and hot days, copied for every test; and what is in it."""
    path = str(tmp_path_factory.mktemp("cold") / "data")
    with Server(*SETTINGS, data_dir=path) as server:
        for day in range(SEALED + HOT):
            write(server, "metrics", [{"metric_name": "noise" if i % 3 else "pnl", "value": i, "timestamp": at(day, i)} for i in range(ROWS)])
            write(server, "trades", [trade(day, i, i) for i in range(ROWS)])
        before = totals(server)
        work(server, "seal", before=at(SEALED, 0))
        assert totals(server) == before
        # Late rows of a sealed day: one file more at the next sealing.
        write(server, "metrics", [{"metric_name": "pnl", "value": 5, "timestamp": at(1, 3 * ROWS)}])
        after = totals(server)
        server.stop()
    return path, after


@pytest.fixture
def data_dir(made, tmp_path):
    path = str(tmp_path / "data")
    shutil.copytree(made[0], path)
    return path


def start_killed(data_dir, point, act, settings=(), nth=1):
    """A server that dies at the point, at its start or when `act` makes it. Fails the test when it lives."""
    server = Server(*SETTINGS, *settings, data_dir=data_dir, env={"EIDER_FAILPOINT": f"{point}:kill:{nth}"})
    try:
        server.start(wait=False)
        try:
            server.wait_ready()
            act(server)
        except Exception:  # of whatever kind: the server is gone in the middle of an answer
            pass
        try:
            assert server.process.wait(20) == -9, server.log()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{point} was not passed: {server.log()}")
    finally:
        server.kill()


def seal(server):
    server.post("/api/v1/admin/seal")


merge = seal


def replace(server):
    server.ingest("trades", [trade(1, 7, 1000)])


def retain(server):
    server.post("/api/v1/admin/retention")


def fill(server):
    """Log until there is a snapshot."""
    for i in range(400):
        if [name for name in os.listdir(server.data_dir + "/backup") if name.endswith(".duckdb")]:
            return
        server.ingest("market_data", [{"timestamp": at(39, 0)[:-2] + f"{i % 60:02}.{i // 60}{j:05}", "symbol": f"S{j}", "last_price": j}
                                      for j in range(2000)], ack="applied")


def optimize(server):
    server.post("/api/v1/admin/optimize")


def nothing(server):
    del server


SNAPSHOTS = ["--set", "storage.snapshot_wal_bytes=1MiB"]
MERGES = ["--set", "storage.cold.merge_files=1"]
ACTIONS = {"seal": (seal, ()), "put": (seal, ()), "commit": (seal, ()), "unseal": (replace, ()), "drop": (retain, RULES),
           "dropped": (retain, RULES), "manifest": (nothing, ()), "sidecar": (fill, SNAPSHOTS), "snapshot": (fill, SNAPSHOTS),
           "compact": (optimize, ())}
CASES = [(point, *ACTIONS[point.split(".")[0]]) for point in points() if point.split(".")[0] in ACTIONS]
CASES += [(point, merge, MERGES) for point in points() if point.split(".")[0] in ("seal", "put", "commit")]
# A day is written anew without a metric: the same points, reached by retention.
CASES += [(point, retain, RULES) for point in points() if point.split(".")[0] in ("seal", "put", "commit")]


def name_of(value):
    return value if isinstance(value, str) else value.__name__ if callable(value) else ""


def replaced(before, price):
    return before[:5] + [before[5] - 7 + price]


@pytest.mark.parametrize("point, act, settings", CASES, ids=name_of)
def test_a_kill_loses_and_doubles_nothing(made, data_dir, point, act, settings):
    before = made[1]
    start_killed(data_dir, point, act, settings)
    with Server(*SETTINGS, data_dir=data_dir) as server:
        settled(server)
        applied(server)
        if act is replace and replaced(before, 1000) != before:
            write(server, "trades", [trade(1, 7, 1000)])  # it may have been acknowledged, or not
            before = replaced(before, 1000)
        if act is not retain:
            assert totals(server) == before
            work(server, "seal")
            assert totals(server) == before
            listed, _ = check_files(data_dir)
            assert len([path for path in listed if path.startswith("trades/")]) == SEALED + HOT
        server.stop()
    if act is not retain:
        return
    with Server(*SETTINGS, *RULES, data_dir=data_dir) as server:
        work(server, "retention")
        applied(server)  # receipts are written through the log
        # Trades of the first two days are gone; samples too, and "noise" of the others.
        [left] = server.sql("SELECT count(*), min(timestamp)::VARCHAR FROM trades")
        assert left[0] == (SEALED + HOT - 1) * ROWS or left[0] == (SEALED + HOT - 2) * ROWS
        assert server.sql("SELECT count(*) FROM trading_metrics WHERE metric_name = 'noise'") == [[0]]
        gone_trades, gone_samples = before[3] - left[0], before[0] - server.sql("SELECT count(*) FROM samples")[0][0]
        receipts = dict(server.sql("SELECT table_name, sum(rows)::BIGINT FROM retention_receipts GROUP BY 1"))
        assert receipts == {"trades": gone_trades, "samples": gone_samples}
        assert server.sql("SELECT table_name, day, action FROM retention_receipts GROUP BY ALL HAVING count(*) > 1") == []
        assert server.post("/api/v1/admin/retention", params={"dry_run": "true"}).json()["steps"] == []
        check_files(data_dir)


def test_collecting_that_is_killed_goes_on(made, data_dir):
    with Server(*SETTINGS, *MERGES, data_dir=data_dir) as server:
        work(server, "seal")
        server.stop()
    _, there = check_files(data_dir)
    start_killed(data_dir, "gc.unlinked", nothing)
    with Server(*SETTINGS, data_dir=data_dir) as server:
        settled(server)
        assert totals(server) == made[1]
        listed, left = check_files(data_dir)
        assert listed == left and len(left) < len(there)


def test_the_database_is_damaged_behind_sealing(made, data_dir):
    """A snapshot lists cold files, its sidecar keeps them from being collected; what was sealed later is in the log."""
    with Server(*SETTINGS, *SNAPSHOTS, data_dir=data_dir) as server:
        fill(server)
        wait_for(lambda: [name for name in os.listdir(data_dir + "/backup") if name.endswith(".duckdb")], 60, "a snapshot")
        work(server, "seal")
        before = totals(server)
        server.kill()
    with open(os.path.join(data_dir, "eider.duckdb"), "r+b") as file:
        file.write(b"x" * 9000)
    with Server(*SETTINGS, data_dir=data_dir) as server:
        settled(server)
        applied(server)
        assert totals(server) == before
        work(server, "seal")
        assert totals(server) == before
        check_files(data_dir)


def test_a_cold_file_that_is_deleted_by_hand_is_told_and_the_rest_is_readable(made, data_dir):
    cold = os.path.join(data_dir, "cold")
    with open(os.path.join(cold, "manifest.json")) as file:
        victim = next(entry for entry in json.load(file)["files"] if entry["path"].startswith("trades/"))
    os.unlink(os.path.join(cold, victim["path"]))
    checked = run("check", "--data-dir", data_dir)
    assert checked.returncode != 0 and os.path.basename(victim["path"]) in checked.stdout + checked.stderr
    with Server(*SETTINGS, data_dir=data_dir) as server:
        settled(server)
        assert server.sql("SELECT count(*) FROM trades") == [[made[1][3] - victim["rows"]]]
        assert os.path.basename(victim["path"]) in server.log()
        server.stop()
    with open(os.path.join(cold, "missing")) as file:
        assert victim["path"] in file.read()


def test_a_cold_file_that_is_damaged_is_named_by_check(data_dir):
    with open(os.path.join(data_dir, "cold", "manifest.json")) as file:
        victim = next(entry for entry in json.load(file)["files"] if entry["path"].startswith("samples/"))
    with open(os.path.join(data_dir, "cold", victim["path"]), "r+b") as file:
        file.seek(victim["bytes"] // 2)
        byte = file.read(1)
        file.seek(victim["bytes"] // 2)
        file.write(bytes([byte[0] ^ 255]))
    checked = run("check", "--data-dir", data_dir)
    assert checked.returncode != 0 and os.path.basename(victim["path"]) in checked.stdout + checked.stderr


@pytest.fixture
def disk():
    with small_disk(64) as path:
        yield path


def test_a_full_disk_keeps_days_from_being_sealed_and_loses_nothing(made, disk):
    data_dir = os.path.join(disk, "data")
    shutil.copytree(made[0], data_dir)
    with Server(*SETTINGS, data_dir=data_dir) as server:
        settled(server)
        before = totals(server)
        ballast = Ballast(disk)
        ballast.fill()
        ticket = server.post("/api/v1/admin/seal").json()["ticket"]
        status = wait_for(lambda: (lambda s: s if s["done"] >= ticket else None)(server.get("/api/v1/admin/cold").json()), 60, "the refusal")
        assert "the disk has" in status["outcome"] and status["days_sealed"] == 0
        assert totals(server) == before and os.listdir(os.path.join(data_dir, "cold", "tmp")) == []
        ballast.remove()
        assert work(server, "seal")["days_sealed"] > 0
        assert totals(server) == before
