"""The program with storage.type postgres: the flow of the README, settings, secrets."""
import json
import os
import shutil
import tempfile

import pytest
import requests

from eider import Server, run, wait_for
from postgres import Postgres


@pytest.fixture(scope="module")
def postgres():
    with Postgres(password="pa55word-of-the-test") as server:
        yield server


@pytest.fixture
def server(postgres, tmp_path):
    """A server whose settings stand in a JSON file, as the original has them."""
    schema = "s" + os.path.basename(tempfile.mktemp()).lower()
    postgres.ask(f'CREATE SCHEMA "{schema}"')
    settings = {"storage": {"type": "postgres", "postgres": {
        "host": "127.0.0.1", "port": postgres.port, "database": "postgres", "user": "eider", "password": "${DB_PASSWORD}",
        "sslmode": "prefer", "max_connections": 10}},
        "prometheus": {"enabled": True, "namespace": "hedera", "subsystem": "monitor"}, "collect": {"system": False}}
    file = tmp_path / "eider.json"
    file.write_text(json.dumps(settings))
    with Server("--config", str(file), env={"DB_PASSWORD": postgres.password, "PGOPTIONS": f"-csearch_path={schema}"}) as running:
        running.file, running.schema = str(file), schema
        yield running


def applied(server):
    def settled():
        now = server.get("/health").json()
        return now["applied_lsn"] == now["durable_lsn"]
    wait_for(settled, what="everything applied")


def test_what_is_written_is_read(server, postgres):
    trades = [{"trade_id": f"t{n}", "timestamp": 1_700_000_000_000_000 + n, "symbol": "AAPL", "side": "buy", "quantity": 2,
               "price": 10 + n, "latency_ms": n} for n in range(10)]
    assert server.ingest("trades", trades, ack="applied").status_code == 200
    assert server.ingest("trades", [{**trades[0], "price": 99}], ack="applied").status_code == 200  # replaces
    lines = "\n".join(f"cpu,host=é value={n}.5 {1_700_000_000 + n * 60}" for n in range(10))
    assert server.post("/write?precision=s", data=lines.encode()).status_code == 204
    events = [{"id": f"e{n}", "api_name": "birdeye", "endpoint": "/p", "status_code": 200 if n else 500, "latency_ms": n,
               "credits_cost": "0.000001"} for n in range(4)]
    assert server.post("/api/v1/events", json=events).status_code == 200
    applied(server)
    assert server.sql("SELECT count(*), sum(price) FROM trades WHERE symbol = ?", "AAPL") == [[10, 99.0 + sum(range(11, 20))]]
    assert server.get("/api/trades/t0").json()["price"] == 99
    assert server.get("/api/trades/?limit=3").status_code == 200
    quality = server.get("/api/trades/execution/quality?start=2023-11-14T00:00:00Z&end=2023-11-15T00:00:00Z")
    assert quality.status_code == 200, quality.text
    # By endpoint of one API: not from the rollups in memory, but by SQL.
    stats = server.get("/api/v1/events/stats?group_by=endpoint&api_name=birdeye&status=200").json()
    assert [(g["endpoint"], g["avg_latency"]) for g in stats["groups"]] == [("/p", 2.0)], stats
    assert server.get("/api/v1/events/stats").json()["total_credits"] == 0.000004
    history = server.get("/api/metrics/history", params={"metric_types": "trades", "start_time": "2023-11-14T00:00:00Z",
                                                         "end_time": "2023-11-15T00:00:00Z"})
    assert history.status_code == 200 and "AAPL" in history.text, history.text
    # The tables are PostgreSQL's: others read them, by the names of the original's plan, too.
    rows = postgres.ask(f"SELECT name, value, labels ->> 'host', timestamp FROM {server.schema}.metrics ORDER BY id LIMIT 1")
    assert rows == [["cpu", "0.5", "é", "1700000000"]]
    assert postgres.ask(f"SELECT DISTINCT key, value FROM {server.schema}.metric_labels") == [["host", "é"]]
    assert postgres.ask(f"SELECT credits_used, calls FROM {server.schema}.api_quota_usage") == [["0.000004", "4"]]
    # And all of it is there after a restart.
    assert server.stop() == 0
    server.start()
    assert server.sql("SELECT count(*) FROM trading_metrics") == [[10]]
    metrics = requests.get(server.url + "/metrics", timeout=30).text
    assert "hedera_monitor_build_info" in metrics and "\neider_" not in metrics


def test_statements_are_postgresqls_when_memory_has_the_rows(server):
    """Names without quotes are folded, 90 MINUTE is no interval: the cache, which has the rows, must not answer as DuckDB would."""
    assert server.post("/write?precision=s&ack=applied", data="cpu value=1 1700000000").status_code == 204
    where = "FROM trading_metrics WHERE metric_name = 'cpu'"
    for _ in range(3):
        answer = server.post("/api/v1/sql", json={"sql": f"SELECT value AS Load {where}"}).json()
        assert [column["name"] for column in answer["columns"]] == ["load"] and answer["rows"] == [[1.0]]
        answer = server.post("/api/v1/sql", json={"sql": f"SELECT value {where} AND timestamp >= now() - INTERVAL 90 MINUTE"})
        assert answer.status_code == 422, answer.text


def test_no_nul_gets_in(server):
    answer = server.ingest("trades", '[{"trade_id": "a\\u0000b", "timestamp": 1, "symbol": "A", "side": "buy", "quantity": 1, "price": 1}]')
    assert answer.status_code in (400, 422) and "NUL" in answer.text, answer.text
    assert server.post("/write?precision=us", data=b"c\0pu value=1 1").status_code in (400, 422)
    assert server.post("/write?precision=us", data=b"cpu,host=a\0b value=1 1").status_code in (400, 422)
    answer = server.ingest("trading_metrics", '[{"metric_name": "cpu", "value": 1, "labels": {"a": "b\\u0000"}}]')
    if answer.status_code == 200:  # six characters of JSON
        applied(server)
        assert server.sql("SELECT count(*) FROM trading_metrics") == [[1]]


def test_sql_of_users_reads_and_does_nothing_else(server):
    def refused(text, *params):
        answer = server.post("/api/v1/sql", json={"sql": text, "params": list(params)})
        assert answer.status_code in (400, 422), (text, answer.text)
        return answer.json()["detail"]
    for text in ("DELETE FROM trades", "WITH x AS (DELETE FROM trades RETURNING 1) SELECT * FROM x", "SELECT 1; SELECT 2",
                 "COPY trades TO STDOUT", "SELECT pg_read_file('PG_VERSION')", "SELECT * FROM pg_authid", "EXPLAIN ANALYZE DELETE FROM trades",
                 "SELECT nextval('x')", "SELECT ?::int / 0"):
        refused(text)
    assert "nowhere" in refused("SELECT * FROM nowhere")
    assert server.sql("SELECT ?::bigint + ?, ?, ? = 'b?'", 1, 2, None, "b?") == [[3, None, True]]
    assert server.sql("SELECT '?', '{\"a\": 1}'::jsonb ? 'a'") == [["?", True]]
    assert server.sql("SELECT 0.5::numeric, 12345678901234567890::numeric, NULL::text, 'NaN'::float8 IS NULL") == [
        [0.5, 12345678901234567890.0, None, False]]
    cut = server.post("/api/v1/sql", json={"sql": "SELECT generate_series(1, 1000000)"}).json()
    assert cut["truncated"] and cut["row_count"] == 100000


def test_passwords_are_nowhere(server, postgres, tmp_path):
    shown = run("config", "--config", server.file, env={"DB_PASSWORD": postgres.password})
    assert shown.returncode == 0 and "****" in shown.stdout and postgres.password not in shown.stdout
    wrong = "wr0ng-pa55"
    lost = Server("--set", "storage.type=postgres", "--set", f"storage.postgres.dsn=postgresql://eider:{wrong}@127.0.0.1:{postgres.port}/postgres")
    try:
        lost.start(wait=False)
        text = wait_for(lambda: "password authentication failed" in lost.log() and lost.log(), what="a refusal in the log")
        assert wrong not in text
        assert postgres.password not in server.log()
    finally:
        lost.close()


def test_libpq_finds_its_own_settings(postgres, tmp_path):
    """PGHOST and the rest, and a password file, when nothing is set here."""
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{postgres.port}:*:eider:{postgres.password}\n")
    file.chmod(0o600)
    postgres.ask("CREATE SCHEMA from_the_environment")
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "eider", "PGDATABASE": "postgres", "PGPASSFILE": str(file),
           "PGOPTIONS": "-csearch_path=from_the_environment"}
    with Server("--set", "storage.type=postgres", env=env) as server:
        assert server.sql("SELECT current_schema()") == [["from_the_environment"]]


def test_schema_is_shown_and_moved_by_hand(postgres, tmp_path):
    postgres.ask("CREATE SCHEMA by_hand")
    data = tempfile.mkdtemp(prefix="eider-test-")
    try:
        arguments = ["--data-dir", data, *postgres.settings()]
        env = {"PGPASSWORD": postgres.password, "PGOPTIONS": "-csearch_path=by_hand"}
        up = run("migrate", "schema", "up", *arguments, env=env)
        assert up.returncode == 0, up.stderr
        status = run("migrate", "schema", "status", *arguments, env=env)
        assert status.returncode == 0 and "applied" in status.stdout, status.stderr
        down = run("migrate", "schema", "down", "--to", "0", *arguments, env=env)
        assert down.returncode == 0, down.stderr
        left = postgres.ask("SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
                            "WHERE n.nspname = 'by_hand' AND c.relkind IN ('r', 'v') AND c.relname <> 'eider_schema_migrations'")
        assert left == [["0"]]
        again = run("migrate", "schema", "up", *arguments, env=env)
        assert again.returncode == 0, again.stderr
    finally:
        shutil.rmtree(data)
