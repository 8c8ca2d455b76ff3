"""Backups and restores that are killed at every step, on full disks, and after the server is ruined."""
import glob
import json
import os
import shutil
import signal
import subprocess

import pytest

from backups import Place, SETTINGS, dump, dump_of
from eider import ROOT, Server, run, wait_for
from oracle import Oracle
from small_disk import resize, small_disk

BACKUP_POINTS = ["export.copied", "backup.pooled", "backup.complete", "backup.listed", "archive.begun", "backup.unlisted"]
RESTORE_POINTS = ["restore.marked", "restore.rows", "restore.lsn", "restore.logged", "restore.applied"]
# These need cold files; test_backup_cold.py goes through them.
COLD_POINTS = ["backup.pinned", "restore.cold"]


@pytest.fixture
def place():
    with Place() as made:
        yield made


def fill(server, first, count):
    for i in range(first, first + count):
        for table, row in [("trades", {"trade_id": f"t{i}", "timestamp": f"2026-01-{i % 3 + 1:02d}T00:00:00", "symbol": "A", "side": "buy",
                                       "quantity": 1, "price": i}),
                           ("market_data", {"timestamp": f"2026-01-{i % 3 + 1:02d}T00:00:{i % 60:02d}", "symbol": "A", "last_price": i})]:
            assert server.ingest(table, row).status_code == 200


def killed(done):
    return done.returncode == -signal.SIGKILL


def test_every_point_of_backup_and_restore_is_tried():
    table = open(os.path.join(ROOT, "src", "store", "failpoint.c")).read()
    names = {line.split('"')[1] for line in table.splitlines() if line.startswith('    "')}
    mine = {name for name in names if name.split(".")[0] in ("export", "backup", "archive", "restore")}
    assert mine == {*BACKUP_POINTS, *RESTORE_POINTS, *COLD_POINTS}


def keep_one(place):
    return ["--set", f"backup.dir={place.backups}", "--set", f"backup.wal_archive={place.archive}", "--set", "backup.keep=1"]


@pytest.fixture(scope="module")
def backed_up():
    """A place with a backup and two lives behind it, copied for every test; and its rows."""
    with Place() as place:
        with place.server() as server:  # every start begins a segment, so that there are closed ones
            fill(server, 0, 6)
        done = run("backup", "--data-dir", place.data, *keep_one(place))
        assert done.returncode == 0, done.stderr
        for i in range(2):
            with place.server() as server:
                fill(server, 10 + 10 * i, 6)
                rows = dump(server)
        yield place.root, rows


@pytest.mark.parametrize("point", BACKUP_POINTS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_killed_backup_is_none_or_whole(place, backed_up, point, nth):
    rows, settings = backed_up[1], keep_one(place)
    shutil.copytree(backed_up[0], place.root, dirs_exist_ok=True)
    done = run("backup", "--data-dir", place.data, *settings, env={"EIDER_FAILPOINT": f"{point}:kill:{nth}"})
    if nth == 1 or point in ("export.copied", "backup.pooled"):
        assert killed(done), (point, done.returncode, done.stderr)
    for backup in place.list():  # whatever is listed is whole
        assert backup["problem"] is None
        verified = place.verify(backup["id"])
        assert verified.returncode == 0, verified.stderr
    assert place.list()
    done = run("backup", "--data-dir", place.data, *settings, "--json")
    assert done.returncode == 0, done.stderr
    assert [entry["id"] for entry in place.list()] == [json.loads(done.stdout)["id"]]
    left = [name for name in os.listdir(place.backups) if name not in ("files", "lock")]
    assert left == [json.loads(done.stdout)["id"]], "what the killed one left is gone"
    assert not glob.glob(os.path.join(place.backups, "**", "*.tmp"), recursive=True)
    assert place.verify().returncode == 0
    done, restored = place.restore("--wal", place.archive, "--wal", place.data)
    assert done.returncode == 0, done.stderr
    assert dump_of(place, restored) == rows


@pytest.fixture(scope="module")
def written_on():
    """A place with a backup in the middle of a life and another life behind it, copied for every test; and its rows."""
    with Place() as place:
        with place.server() as server:
            fill(server, 0, 6)
            place.backup(server)
            fill(server, 10, 6)
        with place.server() as server:
            fill(server, 20, 6)
            rows = dump(server)
        yield place.root, rows


@pytest.mark.parametrize("point", RESTORE_POINTS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_killed_restore_is_no_database_until_it_is_whole(place, written_on, point, nth):
    rows = written_on[1]
    shutil.copytree(written_on[0], place.root, dirs_exist_ok=True)
    target = place.new_dir()
    done, _ = place.restore("--wal", place.data, to=target, env={"EIDER_FAILPOINT": f"{point}:kill:{nth}"})
    if nth == 1 or killed(done):
        assert killed(done), (point, done.returncode, done.stderr)
        refused = subprocess.run([os.environ["EIDER_BIN"] if "EIDER_BIN" in os.environ else os.path.join(ROOT, "build", "eider"), "serve",
                                  "--port", "0", "--data-dir", target], capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1 and "has not ended" in refused.stderr
        done, _ = place.restore("--wal", place.data, to=target)
    assert done.returncode == 0, done.stderr
    assert dump_of(place, target) == rows


@pytest.mark.parametrize("point", ["export.copied", "backup.pooled", "backup.complete"])
def test_a_server_that_fails_to_back_up_goes_on(place, point):
    with place.server(env={"EIDER_FAILPOINT": f"{point}:error:1"}) as server:
        fill(server, 0, 3)
        done = run("backup", "--url", server.url)
        assert done.returncode == 1 and point in done.stderr
        assert place.list() == []
        assert server.get("/health").status_code == 200
        fill(server, 10, 3)
        place.backup(server)
        assert [entry["problem"] for entry in place.list()] == [None]
    assert place.verify().returncode == 0


@pytest.fixture
def disk():
    with small_disk(4) as path:
        yield path


def test_a_full_disk_ends_the_backup_and_nothing_else(place, disk):
    place.backups = os.path.join(disk, "backups")
    with place.server() as server:
        for i in range(40):  # 180 KB each, of texts that do not compress
            rows = [{"trade_id": os.urandom(60).hex(), "timestamp": f"2026-01-{i % 6 + 1:02d}T00:00:00", "symbol": "A", "side": "buy",
                     "quantity": 1, "price": n} for n in range(3000)]
            assert server.ingest("trades", rows).status_code == 200
        done = run("backup", "--url", server.url)
        assert done.returncode == 1 and "space" in done.stderr, done.stderr
        assert place.list() == []
        assert server.get("/health").status_code == 200
        resize(disk, 64)
        place.backup(server)
    assert place.verify().returncode == 0
    done, _ = place.restore()
    assert done.returncode == 0, done.stderr


def test_a_ruined_server_is_restored_to_its_last_acknowledged_write(place):
    oracle = Oracle(3)
    server = place.server("--set", "storage.snapshot_wal_bytes=1MiB")
    try:
        server.start()
        stop, threads = oracle.run(server, 2)
        for step in range(3):
            goal = oracle.acks + 150
            wait_for(lambda: oracle.acks > goal, timeout_s=60, what="acknowledged writes")
            if step < 2:
                place.backup(server)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
    finally:
        server.kill()
    for path in glob.glob(os.path.join(place.data, "eider.duckdb*")) + glob.glob(os.path.join(place.data, "backup", "*")):
        with open(path, "wb") as file:
            file.write(b"rubbish")
    done, restored = place.restore("--wal", place.archive, "--wal", place.data)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(place.data)
    with Server(*SETTINGS, data_dir=restored) as again:
        bad = oracle.verdict(again.sql)
        assert not bad, bad
    assert oracle.acks > 400
