"""Database and snapshots are lost: eider check --repair makes a new one of cold files, of the definitions of series beside
them, and of what is left of the log, so that every row is there exactly once, although the log has a part of what the files have."""
from copy import deepcopy as copy_of
import glob
import json
import os
import random
import shutil
import signal

import pytest

from backups import Place, wait_applied
from eider import run, wait_for
from test_check_repair import check, codes, flip

DAYS = [f"2026-01-{day:02d}" for day in (5, 6, 7, 8)]
SMALL = ["--set", "storage.snapshot_wal_bytes=1MiB", "--set", "storage.cold.merge_files=6"]


class Ledger:
    """What was acknowledged, by key; and what the server says."""

    def __init__(self):
        self.random = random.Random(7)
        self.quotes, self.trades, self.samples, self.events, self.step = {}, {}, {}, {}, 0

    def moment(self):
        day = self.random.choice(DAYS)
        return f"{day}T{self.random.randrange(24):02d}:{self.random.randrange(60):02d}:{self.random.randrange(60):02d}.{self.random.randrange(10**6):06d}"

    def write(self, server, rows=12):
        """New rows on all days, late ones among them, and rows that replace older ones, also with a trade's day changed."""
        self.step += 1
        quotes = {(f"S{i % 5}", self.moment()): self.random.randrange(1000) for i in range(rows)}
        quotes |= {key: 5000 + self.step for key in self.random.sample(sorted(self.quotes), min(len(self.quotes), 6))}
        trades = {f"t{self.step}-{i}": (self.moment(), self.random.randrange(1000)) for i in range(rows)}
        trades |= {key: (self.moment(), 7000 + self.step) for key in self.random.sample(sorted(self.trades), min(len(self.trades), 6))}
        samples = {(f"m{self.step}.{i % 4}" if i % 2 else f"m{i % 4}", self.moment()): i for i in range(rows)}
        events = {f"e{self.step}-{i}": self.moment() for i in range(rows // 4)}
        for table, body in [
                ("market_data", [{"symbol": s, "timestamp": ts, "last_price": price} for (s, ts), price in quotes.items()]),
                ("trades", [{"trade_id": key, "timestamp": ts, "symbol": "BTC", "side": "buy", "quantity": 1, "price": price}
                            for key, (ts, price) in trades.items()]),
                ("metrics", [{"metric_name": name, "timestamp": ts, "value": value, "labels": {"host": "h"}} for (name, ts), value in samples.items()])]:
            answer = server.ingest(table, body, ack="applied")
            assert answer.status_code == 200, answer.text
        answer = server.post("/api/v1/events", json=[{"id": key, "timestamp": ts, "api_name": "paid", "endpoint": "/x", "status_code": 200,
                                                      "credits_cost": "1"} for key, ts in events.items()])
        assert answer.status_code in (200, 201), answer.text
        self.quotes |= quotes
        self.trades |= trades
        self.samples |= samples
        self.events |= events

    def check(self, server, without=lambda day: False):
        """Every row once, with its last value; `without` says which days of samples may be incomplete."""
        wait_applied(server)
        found = server.sql("SELECT symbol, strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%f'), last_price FROM market_data")
        assert sorted((s, ts, int(price)) for s, ts, price in found) == sorted((s, ts, price) for (s, ts), price in self.quotes.items())
        found = server.sql("SELECT trade_id, strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%f'), price FROM trades WHERE symbol = 'BTC'")
        assert sorted((key, ts, int(price)) for key, ts, price in found) == sorted((key, ts, price) for key, (ts, price) in self.trades.items())
        found = server.sql("SELECT metric_name, strftime(timestamp, '%Y-%m-%dT%H:%M:%S.%f'), value FROM trading_metrics")
        found = [(name, ts, int(value)) for name, ts, value in found]
        assert len(found) == len(set(found))
        due = {(name, ts, value) for (name, ts), value in self.samples.items()}
        assert {row for row in set(found) ^ due if not without(row[1][:10])} == set() and set(found) <= due
        [[count, ids]] = server.sql("SELECT count(*), count(DISTINCT id) FROM api_event_log")
        assert count == ids == len(self.events)
        # Rollups and rows agree: buckets of a day are made of both.
        for name in ("m0", "m1"):
            [[rows]] = server.sql("SELECT count(*) FROM trading_metrics WHERE metric_name = ?", name)
            data = server.get("/api/v1/metrics", params={"name": name, "limit": 0, "from": DAYS[0], "to": "2026-01-09"}).json()
            assert len(data["metrics"]) == rows


def filler(server, ledger, rows=9000):
    """Log enough for a snapshot; of the past, so that it is sealed."""
    body = [{"trade_id": ledger.random.randbytes(32).hex(), "timestamp": f"{DAYS[0]}T00:00:00", "symbol": "FILL", "side": "buy", "quantity": 1, "price": 1}
            for _ in range(rows)]
    assert server.ingest("trades", body, ack="applied").status_code == 200


def seal(server):
    answer = server.post("/api/v1/admin/seal", params={"small": "true"})
    assert answer.status_code == 202, answer.text
    ticket = answer.json()["ticket"]
    status = wait_for(lambda: (lambda s: s if s["done"] >= ticket else None)(server.get("/api/v1/admin/cold").json()), 60, "the sealing")
    assert status["outcome"] is None, status


def first_lsn(place):
    return check(place)[1]["wal"]["first_lsn"]


def manifest(place):
    with open(os.path.join(place.data, "cold", "manifest.json")) as file:
        return json.load(file)["files"]


@pytest.fixture(scope="module")
def made():
    """A directory whose log has a part of what is sealed: all of its days have files, late rows, replaced rows."""
    with Place() as place:
        ledger = Ledger()
        with place.server(*SMALL) as server:
            ledger.write(server, 600)
            for _ in range(12):
                ledger.write(server)
                filler(server, ledger)
                filler(server, ledger)
                seal(server)
                ledger.write(server)
                seal(server)
                wait_applied(server)
                if len(glob.glob(os.path.join(place.data, "backup", "*.duckdb"))) == 2:
                    break
            seal(server)
            ledger.write(server)      # late rows in files of their own
            seal(server)
            ledger.write(server)      # and rows that are hot
            ledger.check(server)
            server.stop()
        first = first_lsn(place)
        assert first > 1
        behind = [file for file in manifest(place) if file["sealed_lsn"] >= first]
        assert {"samples", "api_event_log", "market_data"} <= {file["path"].split("/")[0] for file in behind}
        yield place, ledger


@pytest.fixture
def place(made):
    with Place() as copy:
        shutil.copytree(made[0].data, copy.data)
        copy.ledger = copy_of(made[1])
        yield copy


def lose(place):
    place.listed = {"cold-" + file["path"].replace("/", "-") for file in manifest(place)}
    for path in glob.glob(os.path.join(place.data, "eider.duckdb*")) + glob.glob(os.path.join(place.data, "backup", "*")):
        os.unlink(path)


def repair(place, env=None):
    return run("check", "--data-dir", place.data, "--repair", env=env)


def is_sound(place):
    """Files of days that were unsealed by the replay wait to be collected."""
    done, said = check(place)
    assert done.returncode == 0 and codes(said) <= {"COLD_ORPHAN"}, said


def mend(place):
    done, said = check(place)
    assert done.returncode == 1 and "DATABASE_LOST" in codes(said), said
    done = repair(place)
    assert done.returncode == 0, done.stdout + done.stderr
    is_sound(place)


def quarantine(place):
    """The files that were listed and are set aside; those that waited to be collected are there, too."""
    names = [os.path.basename(path) for path in glob.glob(os.path.join(place.data, "quarantine", "*"))]
    return sorted(name for name in names if any(name.endswith(listed) for listed in place.listed))


def test_every_row_is_there_once(place):
    lose(place)
    explained = run("check", "--data-dir", place.data, "--explain").stdout
    assert "definitions of series are in cold/series" in explained
    files = len(manifest(place))
    mend(place)
    assert quarantine(place) == []
    with place.server(*SMALL) as server:
        place.ledger.check(server)
        assert server.sql("SELECT count(*) FROM eider_cold_files") and len(manifest(place)) <= files
        place.ledger.write(server)  # late rows, replaced rows, new series
        place.ledger.check(server)
        seal(server)
        place.ledger.check(server)
        server.stop()
    with place.server(*SMALL) as server:
        place.ledger.check(server)
    done = run("eventlog", "verify", "--data-dir", place.data)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("point", ["adopt.made", "adopt.renamed", "schema.ready", "series.written", "series.synced", "manifest.written", "manifest.renamed"])
def test_killed_while_it_is_adopted(place, point):
    lose(place)
    if point.startswith("series"):
        with open(os.path.join(place.data, "cold", "series"), "ab") as file:
            file.write(b"SERIESBL" + b"\1" * 40)  # a write that a crash cut off
    done = repair(place, env={"EIDER_FAILPOINT": f"{point}:kill"})
    assert done.returncode == -signal.SIGKILL, (point, done.stderr)
    run("check", "--data-dir", place.data, "--repair")
    is_sound(place)
    # Days that the log's last rows replaced are hot again, their files nobody's; a round may have merged others.
    if not point.startswith("manifest"):
        assert [name for name in quarantine(place) if "market_data" not in name and "trades" not in name] == []
    with place.server(*SMALL) as server:
        place.ledger.check(server)


def test_killed_while_the_log_is_replayed(place):
    """Half of it is applied when the next start comes; the other half must be passed over as well."""
    lose(place)
    done = repair(place, env={"EIDER_FAILPOINT": "unseal.delisted:kill"})
    assert done.returncode in (0, -signal.SIGKILL)
    with place.server(*SMALL) as server:
        place.ledger.check(server)


@pytest.mark.parametrize("how", ["damaged", "missing"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_lost_file_costs_no_row_that_the_log_has(place, how, which):
    first = first_lsn(place)
    lose(place)
    day = DAYS[1]
    mine = sorted((file for file in manifest(place) if file["path"].startswith(f"samples/date={day}")), key=lambda file: file["sealed_lsn"])
    assert len(mine) > 1 and mine[-1]["sealed_lsn"] >= first
    lost = mine[0 if which == "first" else -1]
    path = os.path.join(place.data, "cold", lost["path"])
    if how == "damaged":
        flip(path)
    else:
        os.unlink(path)
    mend(place)
    aside = [name for name in quarantine(place) if name.endswith("cold-" + lost["path"].replace("/", "-"))]
    assert bool(aside) == (how == "damaged")
    with place.server(*SMALL) as server:
        # What was in the first file is lost but for what the log has; the last one's rows are all in the log.
        place.ledger.check(server, without=lambda of: which == "first" and of == day)
        [[rows]] = server.sql(f"SELECT count(*) FROM samples WHERE timestamp::DATE = DATE '{day}'")
        due = sum(ts.startswith(day) for _, ts in place.ledger.samples)
        assert rows == due if which == "last" else due - lost["rows"] <= rows < due


@pytest.mark.parametrize("how", ["missing", "truncated", "rubbish"])
def test_samples_of_series_that_nobody_defines_are_set_aside(place, how):
    """Their numbers would be given out again, to other series."""
    lose(place)
    path = os.path.join(place.data, "cold", "series")
    files = [file for file in manifest(place) if file["path"].startswith("samples/")]
    if how == "missing":
        os.unlink(path)
    elif how == "truncated":
        os.truncate(path, os.path.getsize(path) * 2 // 3)
    else:
        with open(path, "r+b") as file:
            file.write(b"rubbish")
    done = repair(place)
    assert done.returncode == 0, done.stderr
    assert "names series that cold/series does not define" in done.stderr + done.stdout
    aside = [name for name in quarantine(place) if "samples-date" in name]
    assert aside and len(aside) <= len(files)
    if how != "truncated":
        assert len(aside) == len(files)
    with place.server(*SMALL) as server:
        unknown = server.sql("SELECT count(*) FROM series WHERE metric_name LIKE 'unknown_series_%'")
        assert unknown != [[0]] or how == "truncated"
        place.ledger.write(server)  # their numbers are not given out again
        wrong = server.sql("SELECT count(*) FROM samples WHERE series_id NOT IN (SELECT series_id FROM series)")
        assert wrong == [[0]]
    is_sound(place)


def test_the_file_of_series_follows_the_database(made):
    place, ledger = made
    names = {name for name, _ in ledger.samples}
    with open(os.path.join(place.data, "cold", "series"), "rb") as file:
        text = file.read()
    sealed = {name for name in names if name.encode() in text}
    assert len(sealed) >= len(names) - 4  # those of the last, hot, write are in the log
