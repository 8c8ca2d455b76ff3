"""eider migrate schema, as somebody who has never used it would; and what a start does with databases of other versions."""
import hashlib
import json
import os
import shutil

import pytest

import duckdb_file
from eider import Server, run

SETTINGS = ["--set", "collect.system=false"]


@pytest.fixture
def data(tmp_path):
    """A data directory that a server has made and left."""
    data_dir = str(tmp_path / "data")
    with Server(*SETTINGS, data_dir=data_dir) as server:
        assert server.ingest("market_data", [{"symbol": "AAPL", "last_price": 101.5}], ack="applied").status_code == 200
        assert server.stop() == 0
    return data_dir


def schema(data_dir, *args):
    return run("migrate", "schema", *args, "--data-dir", data_dir)


def status(data_dir):
    done = schema(data_dir, "status", "--json")
    return json.loads(done.stdout), done


def database(data_dir):
    return f"{data_dir}/eider.duckdb"


def digest(data_dir):
    return hashlib.sha256(open(database(data_dir), "rb").read()).hexdigest()


@pytest.mark.parametrize("args, said", [
    ([], "migrate: what? schema"),
    (["schem"], "migrate: cannot migrate schem; did you mean schema?"),
    (["postgres"], "migrate: cannot migrate postgres"),
    (["schema"], "migrate schema: which action? up, down, status or history"),
    (["schema", "stats"], "migrate schema: unknown action stats; did you mean status?"),
    (["schema", "xyzzy"], "migrate schema: unknown action xyzzy; expected is up, down, status or history"),
    (["schema", "up", "2"], 'migrate schema up: unexpected argument "2"; a version is given with --to'),
    (["schema", "status", "now"], 'migrate schema status: unexpected argument "now"'),
    (["schema", "up", "--to", "two"], '--to is "two"; expected a whole number from 0 to 256'),
    (["schema", "up", "--to", "-1"], '--to is "-1"; expected a whole number from 0 to 256'),
    (["schema", "status", "--to", "1"], "migrate schema status takes no --to; up and down do"),
    (["schema", "history", "--dry-run"], "migrate schema history takes no --dry-run; up and down do"),
    (["schema", "up", "--down"], "--down"),
])
def test_wrong_lines_are_told_what_was_expected(args, said):
    done = run("migrate", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("eider: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_looking_makes_no_data_directory(tmp_path):
    for action in ("status", "history", "up", "down"):
        done = schema(str(tmp_path / "none"), action)
        assert done.returncode == 1 and "there is no database" in done.stderr and "eider serve" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_running_server_is_named(tmp_path):
    with Server(*SETTINGS, data_dir=str(tmp_path / "data")) as server:
        for action in ("status", "history", "up", "down"):
            done = schema(server.data_dir, action)
            assert done.returncode == 1
            assert f"pid {server.process.pid}" in done.stderr and server.url in done.stderr and "stop it first" in done.stderr


def test_a_store_without_tables_says_so(data):
    done = schema(data, "status", "--set", "storage.type=memory")
    assert done.returncode == 1 and "storage.type memory keeps no tables" in done.stderr


def test_status_and_history_of_a_new_database(data):
    told, done = status(data)
    assert done.returncode == 0
    assert told["version"] == told["newest"] >= 2 and told["ledger"] is True and told["problem"] is None
    assert [(line["version"], line["name"], line["state"]) for line in told["migrations"]][:2] == \
        [(1, "tables", "applied"), (2, "hot_and_cold", "applied")]
    text = schema(data, "status").stdout
    assert "hot_and_cold  applied" in text and f"version   {told['version']}" in text
    history = json.loads(schema(data, "history", "--json").stdout)
    assert [(row["version"], row["status"], row["ledger"]) for row in history][:2] == [(1, "applied", "eider"), (2, "applied", "eider")]
    assert "hot_and_cold" in schema(data, "history").stdout


def test_a_dry_run_prints_the_statements_and_changes_nothing(data):
    before = digest(data)
    done = schema(data, "down", "--to", "1", "--dry-run")
    assert done.returncode == 0
    assert "ALTER TABLE samples_hot RENAME TO samples;\n" in done.stdout and "nothing was changed" in done.stdout
    told = json.loads(schema(data, "down", "--to", "1", "-n", "--json").stdout)
    assert told["dry_run"] is True and told["steps"][-1]["direction"] == "down" and told["steps"][-1]["version"] == 2
    assert "ALTER TABLE samples_hot RENAME TO samples" in told["steps"][-1]["statements"]
    assert digest(data) == before


def test_down_and_up_by_hand(data):
    done = schema(data, "down", "--to", "1")
    assert done.returncode == 0 and "down 2 hot_and_cold, " in done.stdout and "is at version 1" in done.stdout
    told, _ = status(data)
    assert (told["version"], told["migrations"][1]["state"]) == (1, "rolled_back")
    done = schema(data, "up", "--to", "2", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["version"] == 2 and [(step["version"], step["direction"]) for step in told["steps"]] == [(2, "up")]
    assert schema(data, "up").returncode == 0
    assert "nothing to do" in schema(data, "up").stdout
    with Server(*SETTINGS, data_dir=data) as server:
        assert server.sql("SELECT symbol, last_price FROM market_data") == [["AAPL", 101.5]]


def test_receipts_of_retention_are_dropped_knowingly_alone(data):
    with Server(*SETTINGS, "--set", "retention=table=market_data max_age=1d", data_dir=data) as server:
        old = {"symbol": "AAPL", "last_price": 1.5, "timestamp": "2020-01-01T00:00:00Z"}
        assert server.ingest("market_data", [old], ack="applied").status_code == 200
        done = run("retention", "run", "--data-dir", data)
        assert done.returncode == 0, done.stderr
        assert server.sql("SELECT count(*) FROM retention_receipts") == [[1]]
        assert server.stop() == 0
    for dry in ([], ["--dry-run"]):
        done = schema(data, "down", "--to", "2", *dry)
        assert done.returncode == 1 and "retention_receipts has 1 rows" in done.stderr, done.stderr
        assert "eider retention receipts --json" in done.stderr and "--drop-receipts" in done.stderr, done.stderr
    kept = run("retention", "receipts", "--json", "--data-dir", data)
    assert kept.returncode == 0 and "max_age=1d" in kept.stdout
    before = digest(data)
    done = schema(data, "down", "--to", "2", "--drop-receipts", "--dry-run")
    assert done.returncode == 0 and "DROP TABLE retention_receipts" in done.stdout and digest(data) == before
    assert schema(data, "up", "--drop-receipts").returncode == 2
    done = schema(data, "down", "--to", "2", "--drop-receipts")
    assert done.returncode == 0 and status(data)[0]["version"] == 2, done.stderr
    assert schema(data, "up").returncode == 0
    with Server(*SETTINGS, data_dir=data) as server:
        assert server.sql("SELECT symbol, last_price FROM market_data") == [["AAPL", 101.5]]


def test_what_a_later_step_refuses_costs_no_receipts(data):
    with Server(*SETTINGS, "--set", "retention=table=market_data max_age=1d", data_dir=data) as server:
        old = {"symbol": "AAPL", "last_price": 1.5, "timestamp": "2020-01-01T00:00:00Z"}
        assert server.ingest("market_data", [old], ack="applied").status_code == 200
        trade = {"trade_id": "t", "timestamp": "2020-01-01T00:00:00Z", "symbol": "A", "side": "buy", "quantity": 1, "price": 1}
        assert server.ingest("trades", [trade], ack="applied").status_code == 200
        assert run("retention", "run", "--data-dir", data).returncode == 0
        assert server.stop() == 0
    done = run("seal", "--data-dir", data, "--set", "storage.cold.min_rows=0")
    assert done.returncode == 0, done.stderr
    done = schema(data, "down", "--to", "1", "--drop-receipts")
    assert done.returncode == 1 and "cold files, which version 1 cannot read" in done.stderr and "down 3" not in done.stdout, done
    assert status(data)[0]["version"] == 3
    with Server(*SETTINGS, data_dir=data) as server:
        assert server.sql("SELECT count(*) FROM retention_receipts") == [[1]]


def test_versions_that_cannot_be_reached_are_explained(data):
    before = status(data)[0]["version"]
    done = schema(data, "up", "--to", "1")
    assert done.returncode == 1 and '"eider migrate schema down --to 1" goes there' in done.stderr
    done = schema(data, "up", "--to", "200")
    assert done.returncode == 1 and "there is no version 200: this program has versions 0 to" in done.stderr
    done = schema(data, "down", "--to", "0")
    assert done.returncode == 1 and "going below version 1 would delete its tables" in done.stderr
    assert status(data)[0]["version"] == before  # no step of the way was done


# What makes a start refuse, what it says, and the state that status shows of a version.
REFUSALS = {
    "changed": ("UPDATE eider_schema_migrations SET checksum = 'abc' WHERE version = 2",
                "migration 2 hot_and_cold was changed after it was applied: recorded hot_and_cold abc, this program has ", 2),
    "newer": ("INSERT INTO eider_schema_migrations VALUES (99, 'later', 'x', make_timestamp(9000000000000000), 1, 'applied')",
              "the database is at version 99 (later), this program knows versions up to ", 99),
    "missing": ("DELETE FROM eider_schema_migrations WHERE version = 1",
                "the ledger eider_schema_migrations lacks migration 1 tables though version ", 1),
}


@pytest.mark.parametrize("state", REFUSALS)
def test_a_start_refuses_and_leaves_the_file_where_it_is(data, state):
    statement, said, version = REFUSALS[state]
    duckdb_file.execute(database(data), statement)
    before = digest(data)
    server = Server(*SETTINGS, data_dir=data)
    server.start(wait=False)
    assert server.process.wait(timeout=60) == 1
    assert said in server.log()
    assert digest(data) == before and os.listdir(f"{data}/quarantine") == []
    told, done = status(data)
    assert done.returncode == 1 and said in told["problem"]
    assert {line["version"]: line["state"] for line in told["migrations"]}[version] == state
    done = schema(data, "status")
    assert done.returncode == 1 and said in done.stderr
    for action in ("up", "down"):
        done = schema(data, action)
        assert done.returncode == 1 and said in done.stderr
    assert digest(data) == before


def test_a_database_from_before_the_ledger_is_taken_over(data):
    assert schema(data, "down", "--to", "1").returncode == 0
    duckdb_file.execute(database(data), "DROP TABLE eider_schema_migrations", "ALTER TABLE budget_changes DROP COLUMN reason")
    assert "made before there was a ledger" in schema(data, "status").stdout
    with Server(*SETTINGS, data_dir=data) as server:
        assert server.sql("SELECT symbol, last_price FROM market_data") == [["AAPL", 101.5]]
        assert server.sql("SELECT count(reason) FROM budget_changes") == [[0]]
        assert server.sql("SELECT version, status FROM eider_schema_migrations ORDER BY 1")[:2] == [[1, "applied"], [2, "applied"]]


def test_a_snapshot_of_an_older_version_is_brought_up_when_it_is_needed(data):
    assert schema(data, "down", "--to", "1").returncode == 0
    duckdb_file.execute(database(data), "DROP TABLE eider_schema_migrations")
    applied = json.loads(run("check", "--json", "--data-dir", data).stdout)["applied_lsn"]
    os.rename(database(data), f"{data}/backup/eider-{applied:020}.duckdb")
    shutil.rmtree(f"{data}/wal")  # so that the rows can come from the snapshot alone
    with open(database(data), "wb") as file:
        file.write(b"damaged" * 1000)
    with Server(*SETTINGS, data_dir=data) as server:
        assert server.sql("SELECT symbol, last_price FROM market_data") == [["AAPL", 101.5]]
        assert server.get("/health").json()["rebuilds"] == 1
        assert server.stop() == 0
    assert status(data)[0]["version"] >= 2


def test_the_originals_ledger_is_shown_and_left_alone(data):
    duckdb_file.execute(
        database(data),
        "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, description TEXT, "
        "database_type VARCHAR NOT NULL, applied_at TIMESTAMP, applied_by VARCHAR, checksum VARCHAR, "
        "execution_time_ms INTEGER, status VARCHAR, rollback_sql TEXT)",
        "INSERT INTO schema_migrations VALUES (7, 'ohlcv', NULL, 'duckdb', make_timestamp(1000000), 'system', 'c', 5, 'applied', NULL)")
    with Server(*SETTINGS, data_dir=data) as server:
        assert server.sql("SELECT version, name FROM schema_migrations") == [[7, "ohlcv"]]
        assert server.stop() == 0
    history = json.loads(schema(data, "history", "--json").stdout)
    assert (history[0]["version"], history[0]["name"], history[0]["ledger"]) == (7, "ohlcv", "original duckdb")
    assert "entries of the original's runner, left alone (see history): 1\n" in schema(data, "status").stdout
