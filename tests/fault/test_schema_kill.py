"""kill -9 between any two statements of a schema migration, up and down, by hand and at a start: the next start finishes or
undoes it, and every row is there. The places are the fail-points schema.* of src/store/failpoint.c."""
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess

import pytest

import duckdb_file
from eider import BIN, Server, run, wait_for

SETTINGS = ["--set", "collect.system=false"]
STEPS_MAX = 100
COUNTS = ("SELECT (SELECT count(*) FROM market_data), (SELECT sum(volume) FROM market_data), (SELECT count(*) FROM trades), "
          "(SELECT count(*) FROM trading_metrics), (SELECT sum(value) FROM samples), (SELECT count(*) FROM api_event_log)")


def fill(server):
    assert server.ingest("market_data", [{"symbol": f"S{i % 7}", "timestamp": 1700000000 + i, "volume": i} for i in range(500)],
                         precision="s").status_code == 200
    assert server.ingest("trades", [{"trade_id": f"t{i}", "timestamp": 1700000000 + i, "symbol": "A", "side": "buy", "quantity": 1,
                                     "price": 2} for i in range(300)], precision="s").status_code == 200
    assert server.ingest("metrics", [{"metric_name": f"m{i % 5}", "timestamp": 1700000000 + i, "value": i} for i in range(200)],
                         precision="s", ack="applied").status_code == 200
    assert server.post("/api/v1/events", json=[{"api_name": "birdeye", "endpoint": "/p", "credits_cost": 1}] * 20).status_code == 200


def status(data_dir):
    done = run("migrate", "schema", "status", "--data-dir", data_dir, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A data directory as a program without a ledger left it, and what is in it."""
    data_dir = str(tmp_path_factory.mktemp("old") / "data")
    with Server(*SETTINGS, data_dir=data_dir) as server:
        fill(server)
        wait_for(lambda: server.sql("SELECT count(*) FROM api_event_log") == [[20]], what="the events in the store")
        rows = server.sql(COUNTS)
        assert server.stop() == 0
    assert rows[0][0] == 500 and rows[0][3] == 200
    done = run("migrate", "schema", "down", "--to", "1", "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    duckdb_file.execute(f"{data_dir}/eider.duckdb", "DROP TABLE eider_schema_migrations")
    assert [status(data_dir)[key] for key in ("version", "ledger")] == [0, False]
    return data_dir, rows


def killed(args, data_dir, point):
    """Runs the program with the fail-point; whether that killed it. A server that was not killed is stopped."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("EIDER_")} | {"EIDER_FAILPOINT": point}
    if args[0] != "serve":
        done = subprocess.run([BIN, *args, "--data-dir", data_dir], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode != 0
    server = Server(*SETTINGS, data_dir=data_dir, env={"EIDER_FAILPOINT": point})
    try:
        server.start(wait=False)
        server.wait_ready()
    except AssertionError:
        assert server.process.wait() == -signal.SIGKILL, server.log()
        return True
    server.close()
    return False


def check(data_dir, rows):
    with Server(*SETTINGS, data_dir=data_dir) as server:
        assert server.sql(COUNTS) == rows
        fill_again = server.ingest("trades", [{"trade_id": "t0", "symbol": "A", "side": "buy", "quantity": 1, "price": 2,
                                               "timestamp": 1700000000}], precision="s", ack="applied")
        assert fill_again.status_code == 200
        assert server.sql(COUNTS) == rows  # it was replaced, not doubled
        assert server.stop() == 0
    after = status(data_dir)
    assert (after["version"], after["problem"]) == (after["newest"], None)


def at_every_step(one):
    """Calls one(1), one(2), ... until a number is behind the last step, which it answers with None; as many at a time as the
    machine has processors. What the others gave."""
    given, at_once = [], os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        while len(given) < STEPS_MAX and None not in given:
            given += pool.map(one, range(len(given) + 1, len(given) + 1 + at_once))
    steps = given.index(None)
    assert set(given[steps:]) == {None}
    return given[:steps]


@pytest.mark.parametrize("command", [["migrate", "schema", "up"], ["serve"]], ids=["by hand", "at a start"])
@pytest.mark.parametrize("point", ["schema.statement", "schema.ready", "schema.done"])
def test_a_kill_on_the_way_up_is_finished_by_the_next_start(old, tmp_path, command, point):
    source, rows = old

    def one(number):
        data_dir = str(tmp_path / f"d{number}")
        shutil.copytree(source, data_dir)
        was_killed = killed(command, data_dir, f"{point}:kill:{number}")
        if was_killed:
            assert status(data_dir)["problem"] is None
            check(data_dir, rows)
        shutil.rmtree(data_dir)
        return was_killed or None
    assert len(at_every_step(one)) >= (25 if point == "schema.statement" else 2)


def test_a_kill_on_the_way_down_is_undone_or_done(old, tmp_path):
    source, rows = old
    ready = str(tmp_path / "ready")
    shutil.copytree(source, ready)
    check(ready, rows)
    newest = status(ready)["newest"]

    def one(number):
        data_dir = str(tmp_path / f"d{number}")
        shutil.copytree(ready, data_dir)
        was_killed = killed(["migrate", "schema", "down", "--to", "1"], data_dir, f"schema.statement:kill:{number}")
        version = status(data_dir)["version"]
        if was_killed:
            check(data_dir, rows)
        else:
            assert version == 1
        shutil.rmtree(data_dir)
        return version if was_killed else None
    killed_at = at_every_step(one)
    assert len(killed_at) >= 20 and set(killed_at) == set(range(2, newest + 1))
