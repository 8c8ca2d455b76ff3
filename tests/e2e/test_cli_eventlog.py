"""eider eventlog: showing, proving, exporting, repricing and reconciling the log, on a directory that no
server has open and through a server."""
import json
import os
import re

import pytest

from duckdb_file import execute
from eider import Server, run

API = "/api/v1/events"


def event(i, **members):
    return {"id": f"e{i}", "timestamp": f"2026-01-{1 + i // 10:02d}T{i % 10:02d}:00:00.000Z", "api_name": "birdeye",
            "endpoint": "/defi/price", "method": "GET", "status_code": 200, "success": True, "latency_ms": 10 + i,
            "credits_cost": 60, "run_id": f"r{i % 2}", **members}


class Log:
    """The command with one data directory, and a way to put entries into it."""

    def __init__(self, data_dir, cwd, server=None):
        self.data_dir = data_dir
        self.cwd = cwd
        self.server = server

    def run(self, *args, **kwargs):
        return run("eventlog", *args, "--data-dir", self.data_dir, cwd=self.cwd, **kwargs)

    def ask(self, *args):
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def fill(self, events):
        for entry in events:
            done = run("eventlog", "--operation", "log", "--db-path", "x.duckdb", "--event", json.dumps(entry), "--data-dir",
                       self.data_dir, cwd=self.cwd)
            assert done.stdout == '{"success": true}\n', done.stdout


@pytest.fixture(params=["local", "served"])
def log(request, tmp_path):
    if request.param == "local":
        yield Log(str(tmp_path / "data"), str(tmp_path))
        return
    with Server(data_dir=str(tmp_path / "data")) as server:
        yield Log(server.data_dir, str(tmp_path), server)


def test_list_and_tail_filter(log):
    log.fill([event(0), event(1, success=False, status_code=503, credits_cost=0, error_message="down"),
              event(2, api_name="helius", endpoint="/rpc", method="POST"), event(3, success=False, status_code=None)])
    assert [row["id"] for row in log.ask("list", "--json")] == ["e3", "e2", "e1", "e0"]
    assert [row["id"] for row in log.ask("tail", "--limit", "2", "--json")] == ["e2", "e3"]

    def ids(*args):
        return sorted(row["id"] for row in log.ask("list", "--json", *args))
    assert ids("--failed") == ["e1", "e3"]
    assert ids("--success") == ["e0", "e2"]
    assert ids("--status", "5xx") == ["e1"]
    assert ids("--status", "null") == ["e3"]
    assert ids("--api-name", "helius") == ["e2"]
    assert ids("--method", "POST") == ["e2"]
    assert ids("--run", "r1") == ["e1", "e3"]
    assert ids("--id", "e0") == ["e0"]
    assert ids("--from", "2026-01-01T02:00:00Z", "--to", "2026-01-01T02:00:00Z") == ["e2"]
    table = log.run("list").stdout
    assert "error_message" in table and "down" in table and "(4 rows)" in table
    limited = log.run("list", "--limit", "1")
    assert "there are more" in limited.stderr


def test_stats_group(log):
    log.fill([event(0), event(1), event(12, success=False, credits_cost=0), event(13, api_name="helius", credits_cost=0.000001)])
    total, = log.ask("stats", "--json")
    assert total["count"] == 4 and total["credits"] == 120.000001 and total["success_rate"] == 0.75 and total["errors"] == 1
    groups = log.ask("stats", "--json", "--by", "api,day")
    assert [(g["api_name"], str(g["day"])[:10], g["count"]) for g in groups] == [
        ("birdeye", "2026-01-01", 2), ("birdeye", "2026-01-02", 1), ("helius", "2026-01-02", 1)]
    assert "api_name" in log.run("stats", "--by", "api").stdout


def test_verify_finds_the_head_that_was_written_down(log):
    log.fill([event(i) for i in range(5)])
    head = log.run("head").stdout
    assert re.fullmatch(r"5:[0-9a-f]{64}\n", head)
    log.fill([event(5)])
    done = log.run("verify", "--head", head.strip())
    assert done.returncode == 0 and done.stdout.endswith("OK\n") and "is in the chain" in done.stdout
    told = log.ask("verify", "--json", "--head", head.strip().split(":")[1])
    assert told["ok"] and told["checked"] == 6 and told["head"]["seq"] == 6 and told["head_found"]
    assert log.ask("verify", "--json", "--from", "2", "--to", "4")["checked"] == 3
    wrong = log.run("verify", "--head", "5:" + "0" * 64)
    assert wrong.returncode == 1 and "NOT" in wrong.stdout
    assert log.ask("head", "--json")["seq"] == 6


def test_verify_names_the_entry_that_was_changed(tmp_path):
    log = Log(str(tmp_path / "data"), str(tmp_path))
    log.fill([event(i) for i in range(6)])
    execute(tmp_path / "data" / "eider.duckdb", "UPDATE api_event_log_hot SET credits_cost = 1 WHERE id = 'e3'")
    done = log.run("verify")
    assert done.returncode == 1 and done.stdout.endswith("NOT OK\n")
    told = json.loads(log.run("verify", "--json").stdout)
    assert not told["ok"] and told["bad_seq"] in (4, 5) and told["problem"]
    # A row that is gone is told, too.
    execute(tmp_path / "data" / "eider.duckdb", "DELETE FROM api_event_log_hot WHERE id = 'e3'")
    assert log.run("verify").returncode == 1


def test_a_proof_holds_without_the_log(log, tmp_path):
    log.fill([event(i) for i in range(6)])
    head = log.run("head").stdout.strip()
    proof = str(tmp_path / "proof.json")
    assert log.run("verify", "--proof", "e2", "--output", proof).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    checked = run("eventlog", "verify", "--check-proof", proof, "--head", head, cwd=str(elsewhere))
    assert (checked.returncode, checked.stdout) == (0, "OK: the entry is below the head that was written down\n")
    text = open(proof).read()
    assert '"e2"' in text
    open(proof, "w").write(text.replace("/defi/price", "/defi/prize"))
    altered = run("eventlog", "verify", "--check-proof", proof, cwd=str(elsewhere))
    assert altered.returncode == 1 and "proof.json" in altered.stderr
    missing = log.run("verify", "--proof", "nobody")
    assert missing.returncode == 1 and "there is no entry nobody" in missing.stderr


def test_export_writes_all_of_it(log, tmp_path):
    log.fill([event(i) for i in range(3)])
    lines = log.run("export").stdout.splitlines()
    assert lines[0].startswith("id,timestamp,api_name,") and len(lines) == 4
    out = str(tmp_path / "log.ndjson")
    assert log.run("export", "--from", "2026-01-01T01:00:00Z", "-o", out).returncode == 0
    assert [json.loads(line)["id"] for line in open(out)] == ["e1", "e2"]


BOOK = """\
book: birdeye
api: birdeye
version: 1
effective_from: 2020-01-01
rules:
  - name: history
    match: {path: /defi/ohlcv}
    credits: 100
  - name: else
    credits: 50
"""


def test_reprice_shows_and_books_differences_once(log, tmp_path):
    log.fill([event(0), event(1, endpoint="/defi/ohlcv"), event(2, success=False, status_code=500, credits_cost=0),
              event(3, api_name="helius", endpoint="/rpc", credits_cost=7)])
    os.mkdir(tmp_path / "books")
    (tmp_path / "books" / "birdeye.yaml").write_text(BOOK)
    asked = log.run("reprice", "--prices", "books")
    assert asked.returncode == 2 and "--dry-run" in asked.stderr
    rows = {row["api_name"]: row for row in log.ask("reprice", "--dry-run", "--prices", "books", "--json")}
    assert rows["birdeye"] == {"api_name": "birdeye", "day": "2026-01-01", "calls": 3, "changed": 2, "unpriced": 0,
                               "booked": 120, "repriced": 150, "difference": 30}
    assert rows["helius"]["unpriced"] == 1 and rows["helius"]["difference"] == 0
    assert log.ask("verify", "--json")["checked"] == 4
    booked = log.run("reprice", "--yes", "--prices", "books")
    assert booked.returncode == 0 and "2 corrections booked" in booked.stderr
    new = [row for row in log.ask("list", "--json") if row["corrects"]]
    assert sorted((row["corrects"], row["credits_cost"]) for row in new) == [("e0", -10), ("e1", 40)]
    again = log.run("reprice", "--yes", "--prices", "books")
    assert again.returncode == 0 and "nothing to correct" in again.stderr
    assert log.ask("verify", "--json")["checked"] == 6


def test_reconcile_tells_what_differs(log, tmp_path):
    log.fill([event(0), event(1), event(2)])
    (tmp_path / "usage.csv").write_text("Date,Path,Cost\n2026-01-01T00:00:01Z,/defi/price,60\n2026-01-01T01:00:00Z,/defi/price,70\n"
                                        "2026-01-01T09:00:00Z,/defi/price,60\n")
    columns = ["--map", "timestamp=Date,endpoint=Path", "--map", "credits=Cost"]
    done = log.run("reconcile", "usage.csv", *columns)
    assert done.returncode == 0 and done.stdout
    told = log.run("reconcile", "usage.csv", *columns, "--json", "--strict")
    assert told.returncode == 1 and isinstance(json.loads(told.stdout), dict)
    (tmp_path / "same.csv").write_text("Date,Path,Cost\n" + "".join(f"2026-01-01T0{i}:00:00Z,/defi/price,60\n" for i in range(3)))
    assert log.run("reconcile", "same.csv", *columns, "--strict").returncode == 0
    # A correction counts with what it corrects.
    assert log.run("reconcile", "same.csv", *columns, "--strict", "--from", "2026-01-01T01:00:00Z").returncode == 1


def test_import_brings_the_original_s_file_in_twice_without_doubling(log, tmp_path):
    execute(tmp_path / "old.duckdb", "CREATE TABLE api_event_log (id TEXT PRIMARY KEY, timestamp TIMESTAMP, api_name TEXT, "
            "endpoint TEXT, success BOOLEAN, latency_ms DOUBLE, credits_cost DOUBLE)",
            "INSERT INTO api_event_log SELECT 'o' || i, TIMESTAMP '2025-01-01' + INTERVAL (i) MINUTE, 'a', '/b', true, 1, 2 "
            "FROM range(3000) t(i)")
    assert log.ask("import", "old.duckdb", "--json") == {"read": 3000, "stored": 3000, "duplicates": 0, "refused": 0,
                                                         "first_refusal": None}
    assert log.ask("import", "old.duckdb", "--json")["duplicates"] == 3000
    if log.server:
        log.server.stop()
        log.server.start()
    assert log.ask("verify", "--json")["checked"] == 3000
    execute(tmp_path / "other.duckdb", "CREATE TABLE t (i INTEGER)")
    done = log.run("import", "other.duckdb")
    assert done.returncode == 1 and done.stderr == "eider: other.duckdb has no table api_event_log\n"


@pytest.mark.parametrize("args, message", [
    ([], "eventlog: which action? list, tail, stats, export, head, verify, import, reprice or reconcile; or --operation, as the "
         "original"),
    (["lst"], "eventlog: unknown action lst; did you mean list?"),
    (["xyzzy"], "eventlog: unknown action xyzzy; see `eider eventlog --help`"),
    (["list", "more"], 'eventlog list: unexpected argument "more"'),
    (["head", "--limit", "3"], "eventlog head takes no --limit; see `eider eventlog --help`"),
    (["import"], "eventlog import: which file? see `eider eventlog --help`"),
    (["list", "--limit", "0"], 'eventlog: --limit is "0"; expected a whole number from 1 to 10000'),
    (["list", "--success", "--failed"], "eventlog: --success and --failed exclude each other"),
    (["list", "--from", "soon"], 'eventlog: --from is "soon"; expected a time such as 2026-01-31 or 2026-01-31T12:00:00Z'),
    (["list", "--from", "2026-02-01", "--to", "2026-01-01"], "eventlog: --from is 2026-02-01, behind --to 2026-01-01"),
    (["list", "--json", "--format", "csv"], "eventlog: --json and --format csv contradict each other"),
    (["stats", "--by", "colour"], 'eventlog: --by is "colour"; expected one or two of api, endpoint, run_id, key, project, hour '
                                  "and day, such as api,day"),
    (["verify", "--from", "9", "--to", "3"], "eventlog: --from is 9, behind --to 3"),
    (["verify", "--head", "abc"], 'eventlog: --head is "abc"; expected SEQ:HASH as `eider eventlog head` prints it, or a hash of '
                                  "64 hex digits"),
    (["reprice", "--dry-run", "--status", "200"], "eventlog reprice takes no --status; --failed and --success choose by outcome"),
    (["reprice", "--dry-run", "--book", "nothing"], "there is no price book nothing; give --prices DIRECTORY, or see `eider spend "
                                                    "prices`"),
    (["reconcile", "x.csv"], "eventlog reconcile: which column is what? give --map timestamp=COLUMN,credits=COLUMN, and endpoint= "
                             "and id= when there are"),
])
def test_mistakes_say_what_to_do(args, message, tmp_path):
    log = Log(str(tmp_path / "data"), str(tmp_path))
    log.fill([event(0)])
    done = log.run(*args)
    assert done.stderr == f"eider: {message}\n" and done.stdout == ""
    assert done.returncode == (1 if "no price book" in message else 2)


def test_reading_makes_no_directory(tmp_path):
    for action in (["list"], ["stats"], ["verify"], ["head"], ["reprice", "--yes"], ["tail"]):
        done = run("eventlog", *action, "--data-dir", "none", cwd=str(tmp_path))
        assert done.returncode == 1 and "there is no data directory none" in done.stderr
    assert os.listdir(tmp_path) == []
