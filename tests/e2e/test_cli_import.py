"""eider import, export, sql and check: with a server and without one, on real files."""
import csv
import fcntl
import io
import json
import os

import pytest

from duckdb_file import ORIGINAL_SCHEMA, execute
from eider import ROOT, run

VEGA = os.path.join(ROOT, "node_modules", "vega-datasets", "data")
SP500 = os.path.join(VEGA, "sp500-2000.csv")
STOCKS = os.path.join(VEGA, "stocks.csv")


class Local:
    """A data directory that no server has open."""

    def __init__(self, path):
        self.data_dir = str(path / "data")
        self.cwd = str(path)

    def run(self, *args, **kwargs):
        return run(*args, "--data-dir", self.data_dir, cwd=self.cwd, **kwargs)


class Served:
    """The same commands, with a server on the directory."""

    def __init__(self, server, path):
        self.data_dir = server.data_dir
        self.cwd = str(path)

    def run(self, *args, **kwargs):
        return run(*args, "--data-dir", self.data_dir, cwd=self.cwd, **kwargs)


@pytest.fixture(params=["local", "served"])
def eider(request, tmp_path):
    if request.param == "local":
        return Local(tmp_path)
    return Served(request.getfixturevalue("server"), tmp_path)


def ask(eider, sql):
    done = eider.run("sql", "--json", sql)
    assert done.returncode == 0, done.stderr
    return [tuple(row.values()) for row in json.loads(done.stdout)]


def bring_in(eider, *args, **kwargs):
    done = eider.run("import", "--json", *args, **kwargs)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)["files"]


def test_candles_of_a_real_file_twice(eider):
    for _ in range(2):
        result, = bring_in(eider, SP500, "--set", "symbol=SPX")
        assert (result["table"], result["rows_read"], result["rows_written"], result["rows_rejected"]) == ("candles", 5105, 5105, 0)
        assert result["ignored"] == ["adjclose"]
    with open(SP500) as file:
        rows = list(csv.DictReader(file))
    first, last = rows[0], rows[-1]
    found = ask(eider, "SELECT count(*), min(timestamp), max(timestamp), sum(volume), max(high) FROM candles WHERE symbol = 'SPX'")
    assert found == [(5105, first["date"] + "T00:00:00", last["date"] + "T00:00:00",
                      sum(int(row["volume"]) for row in rows), max(float(row["high"]) for row in rows))]


def test_a_missing_symbol_is_asked_for(eider):
    done = eider.run("import", SP500)
    assert done.returncode == 2
    assert done.stderr == ("eider: import: candles needs symbol, and no column of the file fits; expected --set symbol=VALUE "
                           "or --map symbol=COLUMN\n")


def test_prices_with_months_in_words(eider):
    done = eider.run("import", STOCKS)
    assert done.returncode == 0, done.stderr
    assert "market_data (guessed" in done.stderr and "date (%b %d %Y)" in done.stderr and "last_price         <- price" in done.stderr
    assert "560 rows read, 560 written, 0 rejected" in done.stdout
    assert ask(eider, "SELECT count(*), count(DISTINCT symbol) FROM market_data") == [(560, 5)]
    assert ask(eider, "SELECT last_price FROM market_data WHERE symbol = 'MSFT' AND timestamp = '2000-02-01'") == [(36.35,)]


def test_wrong_rows_are_named_with_their_line(eider, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("timestamp,symbol,last_price,volume\n2026-01-01,A,1,1\n2026-01-02,B,abc,1\n\n2026-13-01,C,1,1\n2026-01-04,D,4\n"
                    "2026-01-05,,5,1\n2026-01-06,F,6,1.5\n2026-01-07,G,nan,7\n2026-01-08,H,inf,7\n")
    done = eider.run("import", str(path))
    assert done.returncode == 1
    assert f'{path} row 3: last_price is "abc"; expected a number' in done.stderr
    assert "row 3 is wrong; mend it and import the file again" in done.stderr
    done = eider.run("import", str(path), "--on-error", "skip", "--json")
    assert done.returncode == 0, done.stderr
    result, = json.loads(done.stdout)["files"]
    assert (result["rows_read"], result["rows_written"], result["rows_rejected"]) == (8, 2, 6)
    assert [(e["row"], e["field"]) for e in result["errors"]] == [(3, "last_price"), (5, "timestamp"), (6, ""), (7, "symbol"), (8, "volume"), (10, "last_price")]
    assert ask(eider, "SELECT symbol, last_price FROM market_data ORDER BY 1") == [("A", 1.0), ("G", None)]


def test_metrics_are_not_doubled_by_importing_again(eider, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("time,metric,value,host\n" + "".join(f"2026-01-01 00:{i // 60:02d}:{i % 60:02d},cpu,{i},h1\n" for i in range(3000)))
    mapped = ["--table", "metrics", "--set", 'labels={"host":"h1"}']
    first, = bring_in(eider, str(path), *mapped)
    again, = bring_in(eider, str(path), *mapped, "--batch", "7")
    assert (first["rows_written"], first["rows_replayed"]) == (3000, 0)
    assert (again["rows_written"], again["rows_replayed"]) == (3000, 3000)
    assert ask(eider, "SELECT count(*), sum(value) FROM trading_metrics") == [(3000, 4498500.0)]


def test_line_protocol_from_standard_input(eider):
    lines = "# comment\n\n" + "".join(f"cpu,host=h{i % 3} value={i}.5 {1767225600000000000 + i * 1000000000}\n" for i in range(100))
    result, = bring_in(eider, "-", "--format", "line", data=lines)
    assert (result["file"], result["rows_read"], result["rows_written"]) == ("standard input", 100, 100)
    assert ask(eider, "SELECT count(*), sum(value) FROM trading_metrics") == [(100, 5000.0)]


def test_wrong_lines_of_line_protocol(eider, tmp_path):
    path = tmp_path / "points.lp"
    path.write_text("# c\n\ncpu,host=a value=1 1767225600000000000\ncpu,host=b value=abc 1767225600000000000\n\ncpu value=3 1767225600000000000\n")
    for dry in ([], ["--dry-run"]):
        done = eider.run("import", str(path), *dry)
        assert done.returncode == 1 and f'{path} row 4: "abc' in done.stderr
    assert ask(eider, "SELECT count(*) FROM trading_metrics") == [(0,)]
    skipped, = bring_in(eider, str(path), "--on-error", "skip")
    assert (skipped["rows_written"], skipped["rows_rejected"], skipped["rows_replayed"]) == (2, 1, 0)
    again = eider.run("import", str(path), "--json")
    assert again.returncode == 1 and json.loads(again.stdout)["files"][0]["rows_replayed"] == 2
    assert ask(eider, "SELECT count(*), sum(value) FROM trading_metrics") == [(2, 4.0)]


def test_ndjson_by_its_keys_and_its_errors_by_line(eider, tmp_path):
    path = tmp_path / "trades.ndjson"
    row = {"trade_id": "t", "timestamp": "2026-01-01T00:00:00", "symbol": "A", "side": "buy", "quantity": 1, "price": 2}
    lines = [json.dumps({**row, "trade_id": f"t{i}"}) for i in range(10)]
    path.write_text("\n".join(lines) + "\n")
    result, = bring_in(eider, str(path))
    assert (result["table"], result["rows_written"]) == ("trades", 10)
    lines[4] = lines[4].replace('"price": 2', '"price": "two"')
    path.write_text("\n\n" + "\n".join(lines))
    for dry in ([], ["--dry-run"]):
        done = eider.run("import", str(path), *dry)
        assert done.returncode == 1
        assert f'{path} row 7: price is "two"' in done.stderr
    assert ask(eider, "SELECT count(*), sum(price) FROM trades") == [(10, 20.0)]


def test_dry_run_writes_nothing(eider):
    result, = bring_in(eider, STOCKS, "--dry-run")
    assert result["rows_written"] == 560
    if isinstance(eider, Local):
        assert not os.path.exists(eider.data_dir)
    else:
        assert ask(eider, "SELECT count(*) FROM market_data") == [(0,)]


def test_database_of_the_originals(eider, tmp_path):
    path = tmp_path / "observability.duckdb"
    execute(path, *ORIGINAL_SCHEMA,
            "INSERT INTO market_data SELECT TIMESTAMP '2026-01-01' + to_microseconds(range * 1000001), 'S' || range % 5, "
            "100 + range / 7, NULL, NULL, range, range, 0.5 FROM range(25000)",
            "INSERT INTO strategy_metrics SELECT TIMESTAMP '2026-01-01' + to_seconds(range), 'momentum', range, -range, 1, 2, 0.5 FROM range(100)",
            "INSERT INTO execution_metrics SELECT TIMESTAMP '2026-01-01' + to_seconds(range), 1, 2, 3, 4, 0.5, 1.5, 2.5 FROM range(100)",
            "INSERT INTO system_metrics SELECT TIMESTAMP '2026-01-01' + to_seconds(range), 1, 2, 3, 4, 'healthy', 0 FROM range(100)",
            "INSERT INTO trades SELECT 'id' || range, TIMESTAMP '2026-01-01' + to_seconds(range), 'A', 'buy', 1.5, 2.5, NULL, NULL, NULL FROM range(67)",
            "CREATE TABLE notes (text VARCHAR)")
    results = bring_in(eider, str(path))
    assert {r["table"]: (r["rows_read"], r["rows_written"]) for r in results} == {
        "market_data": (25000, 25000), "strategy_metrics": (100, 100), "execution_metrics": (100, 100),
        "system_metrics": (100, 100), "trades": (67, 67)}
    assert ask(eider, "SELECT count(*), max(timestamp), sum(last_price), count(bid) FROM market_data") == [
        (25000, "2026-01-01T06:56:39.024999", pytest.approx(25000 * 100 + sum(range(25000)) / 7), 0)]
    done = eider.run("import", str(path), "--source-table", "notes")
    assert done.returncode == 2 and "no table fits the columns" in done.stderr


def test_parquet_with_other_names(eider, tmp_path):
    path = tmp_path / "ticks.parquet"
    execute(None, f"COPY (SELECT epoch_ms(TIMESTAMP '2026-01-01') + range AS at, 'X' AS tic, range::DECIMAL(9,2) AS p "
                  f"FROM range(1000)) TO '{path}'")
    result, = bring_in(eider, str(path), "--table", "market_data", "--map", "timestamp=at,symbol=tic,last_price=p")
    assert (result["rows_written"], result["date_format"]) == (1000, "milliseconds since 1970")
    assert ask(eider, "SELECT count(*), max(timestamp), sum(last_price) FROM market_data") == [(1000, "2026-01-01T00:00:00.999000", 499500.0)]


def test_export_gives_back_what_was_imported(eider, tmp_path):
    bring_in(eider, SP500, "--set", "symbol=SPX")
    with open(SP500) as file:
        rows = list(csv.DictReader(file))
    done = eider.run("export", "candles")
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [r["timestamp"] for r in found] == [r["date"] + "T00:00:00" for r in rows]
    assert [float(r["close"]) for r in found] == [float(r["close"]) for r in rows]
    year = eider.run("export", "candles", "--from", "2008-01-01", "--to", "2008-12-31", "--symbol", "SPX", "-f", "ndjson")
    lines = [json.loads(line) for line in year.stdout.splitlines()]
    assert [line["timestamp"][:10] for line in lines] == [r["date"] for r in rows if r["date"].startswith("2008")]
    out = tmp_path / "spx.json"
    assert eider.run("export", "candles", "-o", str(out)).returncode == 0
    assert len(json.loads(out.read_text())) == 5105 and not os.path.exists(f"{out}.part")
    few = eider.run("export", "--sql", "SELECT count(*) AS n FROM candles", "-f", "json")
    assert json.loads(few.stdout) == [{"n": 5105}]


def test_export_pages_through_equal_timestamps(eider, tmp_path):
    """More rows of one timestamp than a page holds, and page ends that fall between equal ones."""
    path = tmp_path / "many.csv"
    path.write_text("timestamp,symbol,last_price\n" + "".join(
        f"2026-01-01T00:00:{0 if i < 45000 else i // 5000:02d},S{i:06d},{i}\n" for i in range(60000)))
    bring_in(eider, str(path))
    done = eider.run("export", "market_data")
    assert done.returncode == 0, done.stderr
    symbols = [line.split(",")[1] for line in done.stdout.splitlines()[1:]]
    assert len(symbols) == 60000 and symbols == sorted(set(symbols))


def test_export_to_parquet_needs_the_file_alone(eider, tmp_path):
    bring_in(eider, STOCKS)
    out = tmp_path / "stocks.parquet"
    done = eider.run("export", "market_data", "-o", str(out))
    if isinstance(eider, Served):
        assert done.returncode == 1 and "stop the server" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    result, = bring_in(eider, str(out), "--dry-run", "--table", "market_data")
    assert result["rows_written"] == 560


def test_sql_formats_and_mistakes(eider):
    bring_in(eider, STOCKS)
    text = "SELECT symbol, count(*) AS n FROM market_data WHERE symbol < 'H' GROUP BY symbol ORDER BY 1"
    assert eider.run("sql", text).stdout == "symbol    n\n------  ---\nAAPL    123\nAMZN    123\nGOOG     68\n(3 rows)\n"
    assert eider.run("sql", "--format", "csv", data=text).stdout == "symbol,n\nAAPL,123\nAMZN,123\nGOOG,68\n"
    assert eider.run("sql", "-f", "ndjson", text).stdout.splitlines()[0] == '{"symbol":"AAPL","n":123}'
    for wrong, word in (("SELECT nothing", "nothing"), ("DELETE FROM market_data", ""), ("SELECT * FROM read_csv('/etc/passwd')", "")):
        done = eider.run("sql", wrong)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("eider: ") and word in done.stderr
    assert ask(eider, "SELECT count(*) FROM market_data") == [(560,)]


def test_sql_says_when_rows_were_cut(tmp_path):
    eider = Local(tmp_path)
    bring_in(eider, STOCKS)
    done = eider.run("sql", "--set", "sql.rows_max=10", "SELECT symbol FROM market_data")
    assert done.returncode == 0 and done.stdout.endswith("(10 rows)\n") and "sql.rows_max" in done.stderr
    done = eider.run("export", "--set", "sql.rows_max=10", "--sql", "SELECT symbol FROM market_data")
    assert done.returncode == 1 and "more than 10 rows" in done.stderr
    assert len(eider.run("export", "--set", "sql.rows_max=7", "market_data").stdout.splitlines()) == 561


def test_check_of_a_sound_directory_and_of_a_server(eider):
    bring_in(eider, STOCKS)
    done = eider.run("check", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    if isinstance(eider, Local):
        assert found["tables"]["market_data"] == {"rows": 560, "from": "2000-01-01T00:00:00", "to": "2010-03-01T00:00:00"}
        assert found["wal"]["durable_lsn"] == found["applied_lsn"] > 0
        assert eider.run("check").stdout.endswith("OK\n")


def test_check_does_not_read_beside_another(tmp_path):
    eider = Local(tmp_path)
    bring_in(eider, STOCKS)
    with open(os.path.join(eider.data_dir, "lock"), "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The lock's file names a process that is gone: somebody is just starting.
        for command in (["check"], ["sql", "SELECT 1"], ["import", STOCKS]):
            done = eider.run(*command)
            assert done.returncode == 1 and "another process" in done.stderr, done


def test_check_finds_damage_and_changes_nothing(tmp_path):
    eider = Local(tmp_path)
    bring_in(eider, STOCKS)
    database = os.path.join(eider.data_dir, "eider.duckdb")
    with open(database, "r+b") as file:
        file.write(b"garbage!" * 4096)
    before = open(database, "rb").read()
    done = eider.run("check")
    assert done.returncode == 1 and "eider: database: " in done.stderr and done.stdout.endswith("NOT OK\n")
    assert open(database, "rb").read() == before


def test_commands_without_data_make_none(tmp_path):
    eider = Local(tmp_path)
    for command in (["sql", "SELECT 1"], ["export", "trades"], ["check"]):
        done = eider.run(*command)
        assert done.returncode == 1 and "data directory" in done.stderr
    assert not os.path.exists(eider.data_dir)


def test_a_server_that_is_not_there(tmp_path):
    done = run("sql", "--url", "http://127.0.0.1:1", "SELECT 1", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("eider: cannot reach http://127.0.0.1:1: ")


def test_serve_does_not_take_a_strangers_database(tmp_path):
    os.mkdir(tmp_path / "data")
    execute(tmp_path / "data" / "metrics.duckdb", *ORIGINAL_SCHEMA)
    done = run("serve", "--port", "0", env={"DUCKDB_PATH": "data/metrics.duckdb"}, cwd=tmp_path)
    assert done.returncode == 2 and "eider import data/metrics.duckdb" in done.stderr
