"""Backups of sealed days and the swap of a compact database, killed at each step."""
import glob
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from backups import Place, SETTINGS, dump, dump_of
from eider import BIN, ROOT, run
from test_backup_kill import COLD_POINTS

SWAP_POINTS = ["swap.closed", "swap.renamed", "compact.written", "compact.renamed"]


@pytest.fixture
def place():
    with Place() as made:
        yield made


def fill(server, first, count, day="2026-01"):
    for i in range(first, first + count):
        moment = f"{day}-{i % 3 + 1:02d}T00:{i // 60 % 60:02d}:{i % 60:02d}"
        for table, row in [("trades", {"trade_id": f"t{i}", "timestamp": moment, "symbol": "A", "side": "buy", "quantity": 1, "price": i}),
                           ("market_data", {"timestamp": moment, "symbol": "A", "last_price": i}),
                           ("metrics", {"timestamp": moment, "metric_name": "m", "value": i})]:
            assert server.ingest(table, row).status_code == 200


def seal(place):
    done = run("seal", "--data-dir", place.data)
    assert done.returncode == 0, done.stderr
    assert glob.glob(os.path.join(place.data, "cold", "*", "date=*", "*.parquet"))


def test_sealed_and_hot_rows_come_back(place):
    with place.server() as server:
        fill(server, 0, 9)
    seal(place)
    with place.server() as server:
        fill(server, 100, 5)           # late rows of sealed days
        fill(server, 200, 5, "2026-02")
        rows = dump(server)
        first = place.backup(server)
        fill(server, 300, 5)
        later = dump(server)
        second = place.backup(server)
    assert second["files"] >= first["files"] and 0 < second["files_new"] < second["files"]
    for backup, expected in [(first, rows), (second, later)]:
        restored = place.new_dir()
        done = run("restore", "--from", os.path.join(place.backups, backup["id"]), "--data-dir", restored, "--json",
                   "--to-lsn", str(backup["lsn"]))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["cold_files"] > 0
        check = run("check", "--data-dir", restored, "--json")
        assert check.returncode == 0, check.stdout
        assert dump_of(place, restored) == expected
    # The archive and the old log bring the first one to the end, too.
    restored = place.new_dir()
    done = run("restore", "--from", os.path.join(place.backups, first["id"]), "--wal", place.data, "--data-dir", restored)
    assert done.returncode == 0, done.stderr
    assert dump_of(place, restored) == later


@pytest.mark.parametrize("point", COLD_POINTS)
def test_killed_among_cold_files(place, point):
    with place.server() as server:
        fill(server, 0, 9)
        rows = dump(server)
    seal(place)
    env = {"EIDER_FAILPOINT": f"{point}:kill"}
    if point == "restore.cold":
        place.backup()
        target = place.new_dir()
        done, _ = place.restore(to=target, env=env)
        assert done.returncode == -signal.SIGKILL
        refused = subprocess.run([BIN, "serve", "--port", "0", "--data-dir", target], capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1 and "has not ended" in refused.stderr
        done, _ = place.restore(to=target)
    else:
        done = run("backup", "--data-dir", place.data, "--to", place.backups, env=env)
        assert done.returncode == -signal.SIGKILL
        assert place.list() == []
        assert glob.glob(os.path.join(place.data, "cold", "tmp", "pin-*"))
        place.backup()
        assert not glob.glob(os.path.join(place.data, "cold", "tmp", "pin-*"))
        assert place.verify().returncode == 0
        done, target = place.restore()
    assert done.returncode == 0, done.stderr
    assert dump_of(place, target) == rows


@pytest.fixture(scope="module")
def with_holes(tmp_path_factory):
    """A database with free space inside, sealed rows in front of rows that stay, copied for every test; and what is in it."""
    with Place() as place:
        with place.server() as server:
            for i in range(20):
                rows = [{"trade_id": os.urandom(256).hex(), "timestamp": f"2026-01-{i % 3 + 1:02d}T00:00:00", "symbol": "A", "side": "buy",
                         "quantity": 1, "price": n} for n in range(1000)]
                assert server.ingest("trades", rows).status_code == 200
            server.stop()  # a checkpoint: these rows come first in the file
        with place.server() as server:
            now = time.time_ns() // 1000  # days that are not closed stay hot
            for i in range(6):
                points = "\n".join(f"m{os.urandom(80).hex()} value=1 {now + n}" for n in range(1000))
                assert server.post("/write?precision=us", data=points).status_code in (200, 204)
            rows = dump(server)
            server.stop()
        seal(place)
        path = str(tmp_path_factory.mktemp("holes") / "data")
        shutil.copytree(place.data, path)
    return path, rows


def make_holes(place, with_holes):
    shutil.copytree(with_holes[0], place.data)
    return with_holes[1]


def test_optimize_gives_space_back_and_keeps_every_row(place, with_holes):
    rows = make_holes(place, with_holes)
    with place.server() as server:
        before = os.path.getsize(os.path.join(place.data, "eider.duckdb"))
        done = run("optimize", "--url", server.url, "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["compacted"] and said["after"]["database_bytes"] < said["before"]["database_bytes"]
        assert os.path.getsize(os.path.join(place.data, "eider.duckdb")) < before
        assert dump(server) == rows
        fill(server, 0, 1)
    with place.server() as server:
        assert len(server.sql("SELECT * FROM trades")) == len(rows["trades"]) + 1


@pytest.mark.parametrize("point", SWAP_POINTS)
def test_a_killed_swap_has_the_old_file_or_the_new(place, with_holes, point):
    rows = make_holes(place, with_holes)
    done = run("optimize", "--data-dir", place.data, env={"EIDER_FAILPOINT": f"{point}:kill"})
    assert done.returncode == -signal.SIGKILL, (point, done.stderr)
    assert dump_of(place, place.data) == rows
    left = glob.glob(os.path.join(place.data, "eider.duckdb.compact*")) + glob.glob(os.path.join(place.data, "cold", "tmp", "*"))
    assert not left
    done = run("optimize", "--data-dir", place.data)
    assert done.returncode == 0, done.stderr
    assert dump_of(place, place.data) == rows


def test_every_point_of_the_swap_is_tried():
    table = open(os.path.join(ROOT, "src", "store", "failpoint.c")).read()
    names = {line.split('"')[1] for line in table.splitlines() if line.startswith('    "')}
    assert {name for name in names if name.split(".")[0] in ("swap", "compact")} == set(SWAP_POINTS)
