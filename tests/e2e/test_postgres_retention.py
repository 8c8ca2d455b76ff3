"""Retention where PostgreSQL has the rows: rules by age and by metric, plan, run, receipts; a kill between the rows and their
receipt; rules that this store cannot keep are refused, not forgotten."""
import datetime

import pytest

from eider import Server, run, wait_for
from postgres import Postgres

MANUAL = ["--set", "collect.system=false"]
TODAY = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
DAYS, ROWS = 6, 20  # the oldest day is DAYS days ago
RULES = "table=trades max_age=3d,table=metrics metric=noise_* max_age=2d,table=metrics max_age=30d"


@pytest.fixture
def postgres():
    with Postgres() as server:
        yield server


def at(day, minute):
    return (TODAY - datetime.timedelta(days=DAYS - day) + datetime.timedelta(minutes=minute)).isoformat()


def fill(server):
    for day in range(DAYS):
        trades = [{"trade_id": f"t{day}-{i}", "symbol": "BTC", "side": "buy", "quantity": 1, "price": 1, "timestamp": at(day, i)} for i in range(ROWS)]
        samples = [{"metric_name": name, "value": i, "timestamp": at(day, i)} for i in range(ROWS) for name in ("pnl", "noise_a", "noise_%'b")]
        assert server.ingest("trades", trades, ack="applied").json()["accepted"] == len(trades)
        assert server.ingest("metrics", samples, ack="applied").json()["accepted"] == len(samples)


def status(server):
    return server.get("/api/v1/admin/cold").json()


def retain(server):
    answer = server.post("/api/v1/admin/retention")
    assert answer.status_code == 202, answer.text
    now = wait_for(lambda: (lambda s: s if s["done"] >= answer.json()["ticket"] else None)(status(server)), 60, "retention")
    assert now["outcome"] is None, now
    wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), 60, "the log")


def counts(server):
    """Rows by what they are and by day, counted from the oldest."""
    def by_day(text):
        return {(name, (datetime.date.fromisoformat(day[:10]) - (TODAY.date() - datetime.timedelta(days=DAYS))).days): rows
                for name, day, rows in server.sql(text)}
    return {**by_day("SELECT 'trade', CAST(CAST(timestamp AS DATE) AS TEXT), count(*) FROM trades GROUP BY 1, 2"),
            **by_day("SELECT metric_name, CAST(CAST(timestamp AS DATE) AS TEXT), count(*) FROM trading_metrics GROUP BY 1, 2")}


def expected():
    """What the rules leave at whatever time of the day: a day goes when all of it is older than the age."""
    left = {("trade", day): ROWS for day in range(DAYS) if DAYS - day - 1 < 3}
    for name, age in (("pnl", 30), ("noise_a", 2), ("noise_%'b", 2)):
        left.update({(name, day): ROWS for day in range(DAYS) if DAYS - day - 1 < age})
    return left


def receipts(server):
    return server.sql("SELECT action, table_name, day, rows, count(*) FROM retention_receipts GROUP BY 1, 2, 3, 4 ORDER BY 2, 3")


def test_rules_delete_what_the_plan_said(postgres):
    with Server(*MANUAL, *postgres.settings()) as server:
        fill(server)
        before = counts(server)
        server.stop()
        server.args += ["--set", f"retention={RULES}", "--set", "retention_at=23h"]
        server.start()
        wait_for(lambda: status(server)["rounds"] > 0, 60, "the first round, which is due at once")
        wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), 60, "the log")
        assert counts(server) == expected() != before
        assert [line[4] for line in receipts(server)] == [1] * len(receipts(server))
        assert sum(line[3] for line in receipts(server)) == sum(before.values()) - sum(expected().values())
        assert {line[0] for line in receipts(server)} == {"drop day", "drop metrics"}
        # Late rows of such a day go with the next run; the dry run says so and drops nothing.
        fill(server)
        plan = server.post("/api/v1/admin/retention", params={"dry_run": "true"}).json()
        shown = run("retention", "--data-dir", server.data_dir)
        assert plan["rows"] == sum(before.values()) - sum(expected().values()) and shown.returncode == 0 and "noise_a" in shown.stdout, shown
        trades = [rows for (name, _), rows in counts(server).items() if name == "trade"]
        assert sum(trades) == DAYS * ROWS
        retain(server)
        assert {day for name, day in counts(server) if name == "trade"} == {day for name, day in expected() if name == "trade"}


@pytest.mark.parametrize("rules, kept", [
    ("table=trades max_age=3d", lambda name: name != "trade"),
    ("table=metrics metric=noise_* max_age=2d,table=metrics max_age=30d", lambda name: "noise" not in name)], ids=["day", "metrics"])
def test_a_kill_between_rows_and_receipt_leaves_one_receipt(postgres, rules, kept):
    with Server(*MANUAL, *postgres.settings()) as server:
        fill(server)
        before = counts(server)
        server.stop()
        server.args += ["--set", f"retention={rules}", "--set", "retention_at=23h"]
        server.env["EIDER_FAILPOINT"] = "drop.done:kill"
        server.start(wait=False)
        wait_for(lambda: server.process.poll() is not None, 60, "the kill")
        del server.env["EIDER_FAILPOINT"]
        assert 0 < sum(int(row[0]) for table in ("trades", "samples") for row in postgres.ask(f"SELECT count(*) FROM {table}")) < sum(before.values())
        server.start()
        retain(server)
        left = {key: rows for key, rows in before.items() if kept(key[0]) or key in expected()}
        assert counts(server) == left != before
        assert {line[4] for line in receipts(server)} == {1}
        assert sum(line[3] for line in receipts(server)) == sum(before.values()) - sum(left.values())


def test_rules_that_the_store_cannot_keep_are_refused(postgres):
    refused = run("serve", *postgres.settings("--set", "retention=table=metrics rollup=raw max_age=5d"))
    assert refused.returncode != 0 and 'rule 1 of retention, "table=metrics rollup=raw max_age=5d", is for rollups' in refused.stderr, refused
    refused = run("serve", "--set", "storage.type=memory", "--set", "retention=table=trades max_age=5d")
    assert refused.returncode != 0 and "expected no rules, or storage.type duckdb or postgres" in refused.stderr, refused


def test_old_idempotency_keys_go(postgres):
    with Server(*MANUAL, *postgres.settings()) as server:
        assert server.ingest("metrics", [{"metric_name": "x", "value": 1}], key="k", ack="applied").status_code == 200
        postgres.ask("INSERT INTO eider_idempotency (key, payload_hash, accepted, rejected, lsn, at, eider_ord) "
                     "SELECT 'old', '00', 1, 0, 1, now() - interval '4 days', 0")
        server.stop()
        server.start()
        wait_for(lambda: status(server)["rounds"] > 0, 60, "the first round")
        assert postgres.ask("SELECT key FROM eider_idempotency") == [["k"]]


def test_receipts_go_with_a_step_back_when_that_is_said(postgres):
    with Server(*MANUAL, *postgres.settings()) as server:
        fill(server)
        server.stop()
        server.args += ["--set", f"retention={RULES}", "--set", "retention_at=23h"]
        server.start()
        retain(server)
        assert receipts(server)
        server.stop()

        def down(*options):
            return run("migrate", "schema", "down", "--to", "3", *options, "--data-dir", server.data_dir, *postgres.settings())
        for options in ([], ["--dry-run"]):
            done = down(*options)
            assert done.returncode == 1 and "retention_receipts has rows" in done.stderr and "--drop-receipts" in done.stderr, done.stderr
        assert down("--drop-receipts", "--dry-run").returncode == 0
        done = down("--drop-receipts")
        assert done.returncode == 0 and "is at version 3" in done.stdout, done.stderr
        assert run("migrate", "schema", "up", "--data-dir", server.data_dir, *postgres.settings()).returncode == 0
