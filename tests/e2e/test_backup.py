"""Backups of a running server, and the way back: what was acknowledged, up to the moment that was asked for."""
import json
import os
import shutil
import threading
import time

import pytest
import requests

from backups import Place, SETTINGS, dump, dump_of, wait_applied
from eider import Server, run, wait_for

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]


@pytest.fixture
def place():
    with Place() as made:
        yield made


def fill(server, first=0, count=20):
    """Rows of every kind of table, on several days; returns the last LSN."""
    lsn = 0
    for i in range(first, first + count):
        day = DAYS[i % len(DAYS)]
        moment = f"{day}T00:00:{i % 60:02d}.{i:06d}"
        for table, row in [
                ("market_data", {"timestamp": moment, "symbol": "AAPL", "last_price": 100.0 + i, "volume": float(i)}),
                ("trades", {"trade_id": f"t{i}", "timestamp": moment, "symbol": "ETH", "side": "buy", "quantity": 1.0, "price": 2.5}),
                ("metrics", {"timestamp": moment, "metric_name": f"m{i % 3}", "value": i / 7, "labels": {"host": "é\u0001"}})]:
            answer = server.ingest(table, row, ack="applied", key=f"{table}-{i}")
            assert answer.status_code == 200, answer.text
            lsn = max(lsn, answer.json()["lsn"])
        event = server.post("/api/v1/events", json={"api_name": "birdeye", "endpoint": "/defi/price", "method": "GET",
                                                    "status_code": 200, "credits_cost": "3.5"})
        assert event.status_code in (200, 201), event.text
        lsn = max(lsn, event.json().get("lsn", 0))
    wait_applied(server)
    return server.get("/health").json()["durable_lsn"]


def test_a_restored_backup_answers_like_the_original(place):
    with place.server() as server:
        lsn = fill(server)
        original = dump(server)
        taken = place.backup(server)
        assert taken["lsn"] == lsn
        assert taken["rows"] >= sum(len(rows) for rows in original.values())  # tables that are not dumped have some, too
        fill(server, first=100, count=3)
        done, restored = place.restore()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["backup"] == taken["id"] and said["backup_lsn"] == lsn
    done, restored = place.restore("--to-lsn", str(lsn))
    assert done.returncode == 0, done.stderr
    assert dump_of(place, restored) == original
    check = run("check", "--data-dir", restored, "--json")
    assert check.returncode == 0, check.stdout + check.stderr
    assert all(len(rows) > 0 for table, rows in original.items() if table in ("market_data", "trades", "samples", "api_event_log"))


def test_a_directory_may_have_any_name(place):
    """DuckDB takes [, * and ? for patterns."""
    place.backups = os.path.join(place.root, "back[1]ups*'?")
    with place.server() as server:
        lsn = fill(server, count=4)
        original = dump(server)
    place.backup()
    assert place.verify().returncode == 0
    done, restored = place.restore("--to-lsn", str(lsn), to=os.path.join(place.root, "re[s]tored *'"))
    assert done.returncode == 0, done.stderr
    assert dump_of(place, restored) == original


def test_any_lsn_between_backups_can_be_had(place):
    """Dumps at several moments of the original are what restores to those LSNs give, segments dropped or not."""
    seen = {}
    with place.server() as server:
        for step in range(5):
            lsn = fill(server, first=step * 30, count=6)
            seen[lsn] = dump(server)
            if step in (0, 2):
                place.backup(server)
    for lsn, rows in seen.items():
        done, restored = place.restore("--to-lsn", str(lsn), "--wal", place.data)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["lsn"] == lsn and said["backup_lsn"] <= lsn
        assert dump_of(place, restored) == rows
    newest = max(seen)
    done, restored = place.restore("--to-lsn", str(newest + 1), "--wal", place.data)
    assert done.returncode == 1 and f"ends at LSN {newest}, {newest + 1} wanted" in done.stderr
    assert not os.path.exists(restored)
    done, _ = place.restore("--to-lsn", "1", "--wal", place.data)
    oldest = place.list()[0]
    assert done.returncode == 1 and "is old enough for LSN 1: the oldest, " + oldest["id"] in done.stderr, done.stderr
    assert f"is at LSN {oldest['lsn']}, taken 2" in done.stderr
    done, _ = place.restore("--to-time", "2020-01-01", "--wal", place.data)
    assert done.returncode == 1 and "is old enough for 2020-01-01T00:00:00" in done.stderr and oldest["id"] in done.stderr, done.stderr


def test_the_moment_before_a_mistake_can_be_had(place):
    with place.server() as server:
        fill(server, count=3)
        place.backup(server)
        fill(server, first=10, count=3)
        good = dump(server)
        time_of_last = time.time()
        wait_for(lambda: time.time() > time_of_last + 0.05, what="a later moment")
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_of_last + 0.02)) + f".{int((time_of_last + 0.02) % 1 * 1e6):06d}"
        fill(server, first=20, count=3)
        assert dump(server) != good
    done, restored = place.restore("--to-time", moment, "--wal", place.data)
    assert done.returncode == 0, done.stderr
    assert dump_of(place, restored) == good
    assert json.loads(done.stdout)["log_goes_on"] is True
    # A log that ends before that moment may not be all there is: said as what came of it, not as a failure.
    done, restored = place.restore("--to-time", moment)
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said["log_goes_on"] is False and not done.stderr, done.stderr
    assert dump_of(place, restored) != good
    told = run("restore", "--from", place.backups, "--data-dir", place.new_dir(), "--to-time", moment)
    assert told.returncode == 0 and not told.stderr
    assert f"up to {moment[:19]}" in told.stdout and f"there is LSN {said['lsn']}, of 2" in told.stdout and "--wal DATA_DIR" in told.stdout
    told = run("restore", "--from", place.backups, "--data-dir", place.new_dir(), "--to-time", "2100-01-01", "--wal", place.data)
    assert told.returncode == 0 and "nothing behind it was found" in told.stdout and "--wal DATA_DIR" not in told.stdout, told.stdout
    done, _ = place.restore("--to-time", "yesterday")
    assert done.returncode == 2 and "--to-time" in done.stderr


def test_a_gap_is_no_end(place):
    """Records that are known to have been there are not left out in silence, whatever was asked for."""
    with place.server() as server:
        fill(server, count=1)
        place.backup(server)
    for first in (10, 20, 30):
        with place.server() as server:
            fill(server, first=first, count=1)
    done, _ = place.restore("--to-time", "2100-01-01", "--wal", place.data)
    assert done.returncode == 0, done.stderr
    logs = os.path.join(place.root, "logs")
    shutil.copytree(os.path.join(place.data, "wal"), os.path.join(logs, "wal"))
    shutil.copy(os.path.join(place.data, "id"), logs)
    begun = [name for name in sorted(os.listdir(os.path.join(logs, "wal"))) if name.endswith(".wal")
             and any(open(os.path.join(logs, "wal", name), "rb").read()[4096:8192])]
    os.unlink(os.path.join(logs, "wal", begun[-2]))
    for wanted in (["--to-time", "2100-01-01"], ["--to-lsn", "1000000"], []):
        done = run("restore", "--from", place.backups, "--data-dir", place.new_dir(), "--wal", logs, *wanted)
        assert done.returncode == 1 and "are missing before it goes on" in done.stderr, done.stderr


def test_what_is_not_archived_yet_is_had_from_the_data_directory(place):
    with place.server() as server:
        fill(server, count=1)
        lsn = place.backup(server)["lsn"]
        wanted = fill(server, first=10, count=1)
        done, _ = place.restore("--to-lsn", str(wanted))
        assert done.returncode == 1 and f"ends at LSN {lsn}, {wanted} wanted" in done.stderr and "(--wal DATA_DIR)" in done.stderr
        rows = dump(server)
        done, restored = place.restore("--to-lsn", str(wanted), "--wal", place.data)
    assert done.returncode == 0, done.stderr
    assert dump_of(place, restored) == rows


def test_an_earlier_backup_that_is_whole_is_named(place):
    taken = []
    for first in (0, 10, 20):
        with place.server() as server:
            fill(server, first=first, count=1)
        before = place.files()
        taken.append(place.backup())
    flip_in = [path for path in place.files() if path not in before]
    with open(flip_in[0], "r+b") as file:
        file.seek(10)
        file.write(b"damage")
    done, target = place.restore()
    assert done.returncode == 1 and not os.path.exists(target)
    assert f"last backup before it that is whole is {taken[1]['id']}" in done.stderr, done.stderr
    assert f"--from {place.backups}/{taken[1]['id']}" in done.stderr, done.stderr
    done, _ = place.restore("--from", f"{place.backups}/{taken[1]['id']}")
    assert done.returncode == 0, done.stderr
    # The newest manifest itself is damaged.
    with open(os.path.join(place.backups, taken[2]["id"], "manifest.json"), "r+b") as file:
        file.write(b"x")
    done, _ = place.restore()
    assert done.returncode == 1 and f"--from {place.backups}/{taken[1]['id']}" in done.stderr, done.stderr


def test_a_backup_that_may_be_another_databases_is_named_as_such(place):
    with Place() as other:
        with other.server() as server:
            fill(server, count=1)
        theirs = run("backup", "--data-dir", other.data, "--to", place.backups, "--json")
        assert theirs.returncode == 0, theirs.stderr
        with place.server() as server:
            fill(server, count=1)
        newest = place.backup()
        with open(os.path.join(place.backups, newest["id"], "manifest.json"), "r+b") as file:
            file.write(b"x")
        done, _ = place.restore()
        whose = open(os.path.join(other.data, "id")).read().strip()
        assert done.returncode == 1 and f"of the database {whose}): if that is the one, take it with --from" in done.stderr, done.stderr


def test_a_backup_under_load_is_one_moment(place):
    """Writers go on; each backup has exactly the records up to its LSN, whole."""
    written = {}  # trade_id: LSN
    stop = threading.Event()
    refused = []

    def write(server, worker):
        session = requests.Session()
        for i in range(100000):
            if stop.is_set():
                return
            rows = [{"trade_id": f"{worker}-{i}-{n}", "timestamp": f"{DAYS[i % 3]}T01:00:00.{i % 1000000:06d}", "symbol": "A",
                     "side": "sell", "quantity": 1, "price": i} for n in range(5)]
            answer = session.post(server.url + "/api/v1/ingest/trades", json=rows, timeout=60)
            if answer.status_code != 200:
                refused.append(answer.text)
                return
            for row in rows:
                written[row["trade_id"]] = answer.json()["lsn"]

    with place.server() as server:
        writers = [threading.Thread(target=write, args=(server, worker)) for worker in range(3)]
        for writer in writers:
            writer.start()
        taken = []
        for _ in range(3):
            before = len(written)
            wait_for(lambda: len(written) > before + 100, what="some writes")
            taken.append(place.backup(server))
        stop.set()
        for writer in writers:
            writer.join()
    assert not refused
    for backup in taken:
        restored = place.new_dir()
        done = run("restore", "--from", os.path.join(place.backups, backup["id"]), "--data-dir", restored, "--json",
                   "--to-lsn", str(backup["lsn"]))
        assert done.returncode == 0, done.stderr
        with Server(*SETTINGS, data_dir=restored) as server:
            have = {row[0] for row in server.sql("SELECT trade_id FROM trades")}
        # The program ends before the test reads every answer; what is missing from `written` was not acknowledged here.
        assert have == {trade for trade, lsn in written.items() if lsn <= backup["lsn"]}
        assert have


def test_an_unchanged_day_is_stored_once(place):
    with place.server() as server:
        fill(server, count=12)
        first = place.backup(server)
        assert first["files_new"] == first["files"] > len(DAYS)
        second = place.backup(server)
        assert second["files"] == first["files"] and second["files_new"] == 0 and second["bytes_new"] == 0
        before = set(place.files())
        answer = server.ingest("market_data", {"timestamp": f"{DAYS[0]}T12:00:00", "symbol": "AAPL", "last_price": 1.0}, ack="applied")
        assert answer.status_code == 200, answer.text
        third = place.backup(server)
        assert third["files_new"] == 1
        assert len(set(place.files()) - before) == 1
        listed = place.list()
        assert [entry["id"] for entry in listed] == [first["id"], second["id"], third["id"]]
    assert place.verify().returncode == 0
    # Only what the removed backups alone needed goes.
    done = run("backup", "--prune", "1", "--to", place.backups, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["backups_removed"] == 2 and json.loads(done.stdout)["files_removed"] == 1
    assert place.verify().returncode == 0
    done, restored = place.restore("--wal", place.data)
    assert done.returncode == 0, done.stderr


def test_verification_finds_each_file_that_is_changed_or_missing(place):
    with place.server() as server:
        fill(server, count=6)
    taken = place.backup()
    manifest = os.path.join(place.backups, taken["id"], "manifest.json")
    assert place.verify().returncode == 0
    for path in [*place.files(), manifest]:
        whole = open(path, "rb").read()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(bytes([whole[at] ^ 1]))
            done = place.verify(taken["id"])
            assert done.returncode == 1 and os.path.basename(path) in done.stderr, (path, at, done.stderr)
            restored, target = place.restore()
            assert restored.returncode == 1 and not os.path.exists(target)
            with open(path, "wb") as file:
                file.write(whole)
        with open(path, "wb") as file:
            file.write(whole[:-1])
        assert place.verify(taken["id"]).returncode == 1
        os.unlink(path)
        assert place.verify(taken["id"]).returncode == 1
        with open(path, "wb") as file:
            file.write(whole)
    assert place.verify().returncode == 0


def test_a_server_backs_up_into_its_own_directory_alone(place):
    with Server(*SETTINGS) as server:
        answer = server.post("/api/v1/admin/backup")
        assert answer.status_code == 404 and "backup.dir" in answer.json()["detail"]
        assert server.post("/api/v1/admin/nonsense").status_code == 404
    with place.server() as server:
        fill(server, count=1)
        elsewhere = os.path.join(place.root, "elsewhere")
        done = run("backup", "--data-dir", place.data, "--to", elsewhere)
        assert done.returncode == 2 and "backup.dir" in done.stderr
        answer = server.post("/api/v1/admin/backup", json={"dir": elsewhere, "to": elsewhere})
        assert answer.status_code == 202
        status = wait_for(lambda: (lambda s: s if s["state"] == "idle" and s["runs"] else None)(
            server.get("/api/v1/admin/backup").json()), what="the backup")
        assert status["error"] is None and status["result"]["files"] > 0
        assert not os.path.exists(elsewhere)
        assert [entry["id"] for entry in place.list()] == [status["result"]["id"]]


def test_a_backup_needs_the_scope_of_an_operator(place):
    tokens = "reader:read:" + "r" * 32 + ",boss:admin:" + "b" * 32
    with place.server("--set", f"server.tokens={tokens}") as server:
        assert server.post("/api/v1/admin/backup").status_code == 401
        assert server.post("/api/v1/admin/backup", headers={"Authorization": "Bearer " + "r" * 32}).status_code == 403
        assert server.post("/api/v1/admin/backup", headers={"Authorization": "Bearer " + "b" * 32}).status_code == 202


def test_the_clock_takes_backups_and_old_ones_go(place):
    with place.server("--set", "backup.interval=200ms", "--set", "backup.keep=2") as server:
        fill(server, count=1)
        first = wait_for(lambda: os.path.isdir(place.backups) and place.list(), what="the first backup")[0]["id"]
        wait_for(lambda: place.list()[0]["id"] != first and len(place.list()) == 2, what="the first to be removed")
    assert len(place.list()) == 2
    assert place.verify().returncode == 0


def test_the_archive_has_what_the_log_dropped(place):
    """With snapshots taken, the old segments are gone from wal/ and restores still reach every LSN."""
    with place.server("--set", "storage.snapshot_wal_bytes=1MiB") as server:
        fill(server, count=2)
        place.backup(server)
        for i in range(40):
            rows = [{"timestamp": f"{DAYS[0]}T02:{i:02d}:00.{n:06d}", "symbol": "BIG", "last_price": n / 3} for n in range(4000)]
            answer = server.ingest("market_data", rows)
            assert answer.status_code == 200, answer.text
        wait_for(lambda: os.path.isdir(place.archive) and server.get("/health").json()["applied_lsn"] > 40, what="the log applied")
        wait_for(lambda: not os.path.exists(os.path.join(place.data, "wal", "0000000000000001.wal")), timeout_s=60,
                 what="the first segment to be dropped")
        lsn = server.get("/health").json()["durable_lsn"]
        whole = dump(server)
        server.kill()
    done, _ = place.restore("--wal", os.path.join(place.data, "wal"))
    assert done.returncode == 1 and "the log begins at LSN" in done.stderr
    done, restored = place.restore("--wal", place.archive, "--wal", os.path.join(place.data, "wal"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lsn"] == lsn
    assert dump_of(place, restored) == whole


def test_wrong_words_are_told(place):
    done = run("backup", "--list", "--verify", "--to", place.backups)
    assert done.returncode == 2 and "at a time" in done.stderr
    assert run("backup", "--verify", "--to", place.backups).returncode == 1
    done = run("backup", "--prune", "0", "--to", place.backups)
    assert done.returncode == 2 and "prune" in done.stderr
    done = run("restore", "--data-dir", place.new_dir())
    assert done.returncode == 2 and "--from" in done.stderr
    done = run("restore", "--from", place.backups, "--to-lsn", "x", "--data-dir", place.new_dir())
    assert done.returncode == 2 and "to-lsn" in done.stderr
