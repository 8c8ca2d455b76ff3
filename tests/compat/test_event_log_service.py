"""The event log's command line as the original's TypeScript service drives it: byte for byte what it
prints, its files, its breaker; with a data directory of its own, and through a server."""
import json
import os
import shutil
import subprocess

import pytest

from duckdb_file import execute
from eider import BIN, Server, run

SERVICE = os.path.join(os.path.dirname(__file__), "event_log_service.mjs")

# The table of the original's program, and its indexes.
ORIGINAL_TABLE = (
    "CREATE TABLE api_event_log (id TEXT PRIMARY KEY, timestamp TIMESTAMP NOT NULL, api_name TEXT NOT NULL, "
    "endpoint TEXT NOT NULL, method TEXT NOT NULL DEFAULT 'GET', status_code INTEGER, success BOOLEAN NOT NULL, "
    "latency_ms DOUBLE NOT NULL, credits_cost DOUBLE NOT NULL DEFAULT 0, run_id TEXT, error_message TEXT, "
    "metadata_json TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
    "CREATE INDEX idx_event_log_timestamp ON api_event_log(timestamp)",
)
ORIGINAL_ROWS = (
    "INSERT INTO api_event_log VALUES "
    "('o1', '2025-12-01 10:00:00.123', 'Birdeye', '/defi/v3/ohlcv', 'GET', 200, true, 12.5, 60.0, 'r1', NULL, "
    "'{\"a\": 1}', '2025-12-01 10:00:01'), "
    "('o2', '2025-12-01 10:00:02', 'Birdeye', '/defi/price', 'GET', NULL, false, 10000.0, 0.0, NULL, "
    "'Request to Birdeye timed out', NULL, '2025-12-01 10:00:13'), "
    "('o3', '2025-12-02 00:00:00', 'Helius', '/rpc', 'POST', 200, true, 7.5, 0.1, NULL, NULL, NULL, '2025-12-02')")

EVENT = {"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "timestamp": "2026-01-02T03:04:05.678Z", "api_name": "Birdeye",
         "endpoint": "/defi/v3/ohlcv", "method": "GET", "status_code": 200, "success": True, "latency_ms": 12.5,
         "credits_cost": 60, "run_id": "run-1", "metadata": {}}


class Program:
    """The command line with one --db-path."""

    def __init__(self, folder, env=None):
        self.cwd = str(folder)
        self.env = env or {}
        self.db_path = "data/event_log.duckdb"

    def operation(self, name, *args):
        done = run("eventlog", "--operation", name, "--db-path", self.db_path, *args, cwd=self.cwd, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self, event):
        return self.operation("log", "--event", event if isinstance(event, str) else json.dumps(event))


@pytest.fixture(params=["alone", "served"])
def program(request, tmp_path):
    if request.param == "alone":
        yield Program(tmp_path)
        return
    with Server() as server:
        yield Program(tmp_path, {"EIDER_URL": server.url})


def test_answers_are_the_original_s_to_the_byte(program):
    assert program.operation("init") == '{"success": true}\n'
    assert program.operation("get_stats") == ('{"total_events": 0, "total_credits": 0.0, "success_rate": 0.0, '
                                              '"avg_latency": 0.0, "error_count": 0}\n')
    assert program.operation("get_credits_in_window", "--window-start", "2020-01-01T00:00:00.000Z") == '{"total_credits": 0.0}\n'
    assert program.log(EVENT) == '{"success": true}\n'
    # The same again is success, and is there once.
    assert program.log(EVENT) == '{"success": true}\n'
    assert program.operation("get_stats") == ('{"total_events": 1, "total_credits": 60.0, "success_rate": 1.0, '
                                              '"avg_latency": 12.5, "error_count": 0}\n')
    failed = {**EVENT, "id": "f", "timestamp": "2026-01-02T03:04:06.000Z", "success": False, "status_code": None,
              "credits_cost": 0.5, "error_message": "Network error: \u00e9", "metadata": {"url": "/x"}}
    assert program.log(failed) == '{"success": true}\n'
    assert program.operation("get_stats") == ('{"total_events": 2, "total_credits": 60.5, "success_rate": 0.5, '
                                              '"avg_latency": 12.5, "error_count": 1}\n')
    # Only successful calls count for the breaker; the window begins inclusively.
    assert program.operation("get_credits_in_window", "--window-start", "2026-01-02T03:04:05.678Z") == '{"total_credits": 60.0}\n'
    assert program.operation("get_credits_in_window", "--window-start", "2026-01-02T03:04:05.679Z") == '{"total_credits": 0.0}\n'


def test_stats_filter_by_api_and_by_dates_inclusively(program):
    for i, api in enumerate(["Birdeye", "Birdeye", "Helius"]):
        program.log({**EVENT, "id": str(i), "api_name": api, "timestamp": f"2026-01-0{i + 1}T00:00:00.000Z"})

    def events(*args):
        return json.loads(program.operation("get_stats", *args))["total_events"]
    assert events() == 3
    assert events("--api-name", "Birdeye") == 2
    assert events("--api-name", "birdeye") == 0
    assert events("--start-date", "2026-01-02T00:00:00.000Z") == 2
    assert events("--end-date", "2026-01-02T00:00:00.000Z") == 2
    assert events("--start-date", "2026-01-02", "--end-date", "2026-01-02") == 1
    assert events("--api-name", "Helius", "--end-date", "2026-01-02") == 0


@pytest.mark.parametrize("args, answer", [
    (("log",), '{"success": false, "error": "Event data required for log operation"}\n'),
    (("log", "--event", ""), '{"success": false, "error": "Event data required for log operation"}\n'),
    (("get_credits_in_window",), '{"total_credits": 0.0, "error": "Window start required"}\n'),
])
def test_fixed_error_texts(program, args, answer):
    assert program.operation(*args) == answer


def test_other_failures_are_answers_too(program):
    wrong = json.loads(program.log("{nonsense"))
    assert wrong["success"] is False and wrong["error"].startswith("Invalid JSON: ")
    assert json.loads(program.log({"endpoint": "/x"}))["error"] == "api_name is missing; expected the name of the API"
    answer = json.loads(program.operation("get_credits_in_window", "--window-start", "yesterday"))
    assert answer["total_credits"] == 0.0 and "yesterday" in answer["error"]
    answer = json.loads(program.operation("get_stats", "--start-date", "soon"))
    assert answer["total_events"] == 0 and "--start-date" in answer["error"]
    # An id that stands for something else is no success.
    program.log(EVENT)
    assert json.loads(program.log({**EVENT, "endpoint": "/other"}))["success"] is False


@pytest.mark.parametrize("args, message", [
    (["--operation", "drop", "--db-path", "x"],
     'eider: eventlog: --operation is "drop"; expected init, log, get_credits_in_window or get_stats\n'),
    (["--operation", "log"], "eider: eventlog: --operation log needs --db-path FILE, such as data/event_log.duckdb\n"),
    (["--operation"], "eider: eventlog: --operation needs a value\n"),
    (["--operation", "log", "--db-path", "x", "--evnt", "{}"], "eider: eventlog: unknown option --evnt; did you mean --event?\n"),
    (["--operation", "log", "--db-path", "x", "list"], "eider: eventlog: --operation and the action list exclude each other\n"),
])
def test_wrong_usage_is_status_2_and_nothing_on_standard_output(args, message, tmp_path):
    done = run("eventlog", *args, cwd=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert os.listdir(tmp_path) == []


def test_reading_makes_the_parent_directory_and_no_more(tmp_path):
    program = Program(tmp_path)
    program.db_path = "a/b/event_log.duckdb"
    program.operation("get_stats")
    assert os.listdir(tmp_path / "a" / "b") == []
    program.operation("init")
    assert os.listdir(tmp_path / "a" / "b") == ["event_log.eider"]


def test_the_original_s_file_is_brought_in_once_and_stays_as_it_is(tmp_path):
    program = Program(tmp_path)
    os.mkdir(tmp_path / "data")
    path = tmp_path / "data" / "event_log.duckdb"
    execute(path, *ORIGINAL_TABLE, ORIGINAL_ROWS)
    before = path.read_bytes()
    assert program.operation("get_stats") == ('{"total_events": 3, "total_credits": 60.1, "success_rate": 0.6666666666666666, '
                                              '"avg_latency": 3340.0, "error_count": 1}\n')
    assert path.read_bytes() == before
    # What is added to the file later is not looked for.
    execute(path, "INSERT INTO api_event_log (id, timestamp, api_name, endpoint, success, latency_ms) "
                  "VALUES ('late', '2026-01-01', 'x', 'y', true, 1)")
    assert json.loads(program.operation("get_stats"))["total_events"] == 3
    program.log(EVENT)
    done = run("eventlog", "list", "--json", "--data-dir", str(tmp_path / "data" / "event_log.eider"))
    rows = {row["id"]: row for row in json.loads(done.stdout)}
    assert [row["seq"] for row in rows.values()] == [4, 3, 2, 1]
    assert rows["o1"]["timestamp"] == "2025-12-01T10:00:00.123000" and rows["o1"]["metadata_json"] in ({"a": 1}, '{"a": 1}')
    assert rows["o1"]["credits_cost"] == 60 and rows["o3"]["credits_cost"] == 0.1
    assert rows["o2"]["status_code"] is None and rows["o2"]["error_message"] == "Request to Birdeye timed out"
    assert rows[EVENT["id"]]["metadata_json"] is None
    done = run("eventlog", "verify", "--data-dir", str(tmp_path / "data" / "event_log.eider"))
    assert done.returncode == 0 and done.stdout.startswith("4 entries checked")


def test_an_import_that_was_cut_short_goes_on(tmp_path):
    program = Program(tmp_path)
    os.mkdir(tmp_path / "data")
    execute(tmp_path / "data" / "event_log.duckdb", *ORIGINAL_TABLE, ORIGINAL_ROWS)
    program.operation("init")
    # As if it had ended before its mark was written.
    os.unlink(tmp_path / "data" / "event_log.eider" / "imported-event-log")
    assert json.loads(program.operation("get_stats"))["total_events"] == 3


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    program = Program(tmp_path)
    os.mkdir(tmp_path / "data")
    (tmp_path / "data" / "event_log.duckdb").write_text("hello")
    answer = json.loads(program.operation("init"))
    assert answer["success"] is False and "event_log.duckdb" in answer["error"]


def test_a_server_on_the_directory_is_asked(tmp_path):
    program = Program(tmp_path)
    program.log(EVENT)
    with Server(data_dir=str(tmp_path / "data" / "event_log.eider")) as server:
        program.log({**EVENT, "id": "second"})
        assert json.loads(program.operation("get_stats"))["total_events"] == 2
        # When the program has ended, whoever asks knows of the call: the breaker must.
        assert server.get("/api/v1/events/second").json()["endpoint"] == EVENT["endpoint"]
        for i in range(5):
            program.log({**EVENT, "id": f"more{i}"})
            assert server.get("/api/v1/events/credits?since=2026-01-01T00:00:00").json()["total_credits"] == 60 * (3 + i)
        server.stop()
    assert json.loads(program.operation("get_stats"))["total_events"] == 7


def test_a_server_s_directory_beside_the_file_is_used(tmp_path):
    with Server(data_dir=str(tmp_path / "data")) as server:
        program = Program(tmp_path)
        program.log(EVENT)
        assert server.get("/api/v1/events/" + EVENT["id"]).status_code == 200
        server.stop()
    # The same without the server: not where it happens to run, but where the data is.
    assert json.loads(program.operation("get_stats"))["total_events"] == 1
    assert not os.path.exists(tmp_path / "data" / "event_log.eider")


def serve(program, steps, breaker=None):
    """What the service makes of the steps."""
    config = {"command": [BIN, "eventlog"], "dbPath": program.db_path, "circuitBreaker": breaker or {}, "steps": steps}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EIDER_")}
    done = subprocess.run([shutil.which("node"), SERVICE, json.dumps(config)], capture_output=True, text=True, timeout=300,
                          cwd=program.cwd, env={**clean, **program.env})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def call(**members):
    return {"api_name": "Birdeye", "endpoint": "/defi/v3/ohlcv", "status_code": 200, "success": True, "latency_ms": 10,
            "credits_cost": 60, **members}


def test_the_service_logs_counts_and_reads_statistics(program):
    steps = [["init"], ["logEvent", call()], ["logEvent", call(success=False, status_code=429, credits_cost=0)],
             ["getCreditsInWindow", 60], ["getStats"], ["getStats", {"apiName": "Helius"}]]
    assert serve(program, steps) == [
        True, {"success": True}, {"success": True}, 60,
        {"totalEvents": 2, "totalCredits": 60, "successRate": 50, "avgLatency": 10, "errorCount": 1},
        {"totalEvents": 0, "totalCredits": 0, "successRate": 0, "avgLatency": 0, "errorCount": 0}]


def test_the_service_s_breaker_trips_at_the_threshold_and_logs_no_more(program):
    results = serve(program, [["logEvent", call()], ["logEvent", call()], ["logEvent", call()], ["getStats"]], {"threshold": 120})
    assert results[:2] == [{"success": True}, {"success": True}]
    assert results[2]["code"] == "CIRCUIT_BREAKER_TRIPPED" and results[2]["status"] == 503
    assert results[2]["context"]["windowMinutes"] == 60
    assert results[3]["totalEvents"] == 2


def test_a_burst_of_calls_is_logged_whole(program):
    entries = [call(run_id=str(i)) for i in range(12)]
    results = serve(program, [["logAll", entries], ["getStats"]], {"enabled": False})
    assert results[0] == [{"success": True}] * 12
    assert results[1]["totalEvents"] == 12 and results[1]["totalCredits"] == 720


def test_the_service_is_degraded_and_goes_on_when_nothing_can_be_written(tmp_path):
    (tmp_path / "data").write_text("a file where a directory should be")
    results = serve(Program(tmp_path), [["init"], ["logEvent", call()], ["getCreditsInWindow", 60]])
    assert results[0] is False
    assert results[1]["success"] is False and "data" in results[1]["error"]
    assert results[2] == 0
