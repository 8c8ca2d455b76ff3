"""The PostgreSQL store under faults of its server: stopped and started, connections cut, replaced by an empty one, away at
the start. The same oracle as for kills: nothing acknowledged is lost, nothing is there twice."""
import os
import random
import select
import shutil
import signal

import pytest
import requests

from eider import Server, wait_for
from oracle import Oracle
from postgres import Postgres

SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "sql.rows_max=10000000",
            "--set", "sql.bytes_max=1GiB", "--log-level", "WARNING"]


@pytest.fixture
def postgres():
    with Postgres() as server:
        yield server


def health(server):
    return requests.get(server.url + "/health", timeout=30).json()


def settle(server):
    """Waits until everything acknowledged is in PostgreSQL."""
    def settled():
        now = health(server)
        return now["status"] == "healthy" and now["applied_lsn"] == now["durable_lsn"]
    wait_for(settled, timeout_s=90, what="everything applied")


def judge(oracle, server):
    settle(server)
    bad = oracle.verdict(server.sql)
    assert not bad, f"{bad}; {server.log()}"


class Load:
    """Writers that go on until the end of the block."""

    def __init__(self, oracle, server):
        self.oracle = oracle
        self.server = server

    def __enter__(self):
        self.stop, self.threads = self.oracle.run(self.server, 1, writers=4)
        return self

    def more(self, acks):
        goal = self.oracle.acks + acks
        wait_for(lambda: self.oracle.acks >= goal, timeout_s=60, what=f"{acks} more acknowledged writes")

    def __exit__(self, *unused):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in_order", "as_a_crash"])
def test_writes_go_on_while_postgres_is_away(postgres, how):
    oracle = Oracle(1)
    with Server(*SETTINGS, *postgres.settings()) as server:
        for _ in range(3):
            with Load(oracle, server) as load:
                load.more(30)
                postgres.stop(how)
                load.more(50)  # acknowledged by the log alone
                state = wait_for(lambda: (lambda h: h if h["status"] != "healthy" else None)(health(server)), what="bad health")
                assert "PostgreSQL" in state["detail"], state
                answer = server.post("/api/v1/sql", json={"sql": "SELECT 1"})
                assert answer.status_code == 503 and "PostgreSQL" in answer.json()["detail"], answer.text
                load.more(30)
                postgres.start()
                load.more(30)
            judge(oracle, server)
        assert server.stop() == 0


# Looks until an attempt is found in the middle of something, COPY and COMMIT included; fails behind a minute.
CUT = """DO $$ BEGIN
    FOR i IN 1 .. 60000 LOOP
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eider' AND state <> 'idle';
        IF FOUND THEN RETURN; END IF;
        PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
    END LOOP;
    RAISE 'no attempt is in the middle of anything';
END $$"""


def test_connections_cut_in_a_loop_lose_nothing(postgres):
    oracle = Oracle(2)
    with Server(*SETTINGS, *postgres.settings()) as server:
        with Load(oracle, server) as load:
            for _ in range(12):
                load.more(10)
                postgres.ask(CUT)
        judge(oracle, server)
        assert oracle.acks > 100


def test_an_empty_server_is_filled_from_the_log(postgres):
    oracle = Oracle(3)
    with Server(*SETTINGS, *postgres.settings()) as server:
        with Load(oracle, server) as load:
            load.more(100)
            postgres.stop(signal.SIGQUIT)
            load.more(20)
            postgres.replace()
            postgres.start()
            load.more(50)
        judge(oracle, server)
        assert "it is filled from the log" in server.log()
        # The same while Eider is away, too.
        assert server.stop() == 0
        postgres.stop()
        postgres.replace()
        postgres.start()
        server.start()
        judge(oracle, server)


def test_what_no_log_has_is_said_and_series_keep_their_names(postgres):
    with Server(*SETTINGS, *postgres.settings("--set", "storage.postgres.keep_wal=0")) as server:
        padding = "x" * 20000
        for number in range(300):  # some megabytes: segments are dropped behind them
            answer = server.post("/write?precision=us", data=f"cpu,host=a value={number} {1_700_000_000_000_000 + number}")
            assert answer.status_code == 204, answer.text
            assert server.ingest("trades", [{"trade_id": f"t{number}", "timestamp": 1, "symbol": padding, "side": "buy",
                                             "quantity": 1, "price": 1}]).status_code == 200
        settle(server)
        postgres.stop()
        postgres.replace()
        postgres.start()
        wait_for(lambda: server.post("/write?precision=us", data="cpu,host=a value=7 1800000000000000").status_code == 204,
                 what="a write")
        settle(server)
        log = server.log()
        assert "records 1 to " in log and "are neither in the log nor in the database" in log, log
        # The last segment was still there; the new sample has its name although its definition was in none.
        rows = server.sql("SELECT metric_name, CAST(labels AS TEXT), value FROM trading_metrics ORDER BY timestamp DESC LIMIT 1")
        assert rows == [["cpu", '{"host":"a"}', 7.0]]


def test_starts_without_postgres_and_is_ready_when_it_comes(postgres):
    postgres.stop()
    server = Server(*SETTINGS, *postgres.settings())
    try:
        server.start(wait=False)
        answer = wait_for(lambda: [a for a in [try_get(server, "/health/ready")] if a is not None], what="an answer")[0]
        assert answer.status_code == 503
        assert "PostgreSQL" in health(server)["detail"]
        postgres.start()
        server.wait_ready()
        assert server.ingest("trades", [{"trade_id": "t", "timestamp": 1, "symbol": "A", "side": "buy", "quantity": 1,
                                         "price": 1}]).status_code == 200
        settle(server)
        assert server.sql("SELECT count(*) FROM trades") == [[1]]
        # And one that is told to stop while it waits, stops.
        assert server.stop() == 0
        postgres.stop()
        server.start(wait=False)
        wait_for(lambda: try_get(server, "/health") is not None, what="an answer")
        server.stop()
        assert server.process.returncode is not None
    finally:
        server.close()


def try_get(server, path):
    try:
        return requests.get(server.url + path, timeout=5)
    except requests.RequestException:
        return None


def test_kills_of_eider_lose_nothing(postgres):
    rng = random.Random(4)
    oracle = Oracle(4)
    server = Server(*SETTINGS, *postgres.settings())
    try:
        for _ in range(8):
            server.start()
            stop, threads = oracle.run(server, 1, writers=4)
            select.select([], [], [], rng.uniform(0.05, 0.4))
            server.kill()
            stop.set()
            for thread in threads:
                thread.join()
        server.start()
        judge(oracle, server)
    finally:
        server.close()


def test_a_database_of_another_directory_is_refused(postgres):
    with Server(*SETTINGS, *postgres.settings()) as first:
        assert first.ingest("trades", [{"trade_id": "t", "timestamp": 1, "symbol": "A", "side": "buy", "quantity": 1,
                                        "price": 1}]).status_code == 200
        settle(first)
        assert first.stop() == 0
        with Postgres() as other:
            args, first.args = first.args, [*SETTINGS, *other.settings()]
            first.start()  # its own log belongs to the first database now left: the empty one is filled
            settle(first)
            assert first.sql("SELECT count(*) FROM trades") == [[1]]
            assert first.stop() == 0
            first.args = args
            first.start(wait=False)
            first.process.wait(30)
            assert first.process.returncode != 0
            assert "another data directory has written to" in first.log()


def trade(number):
    return [{"trade_id": f"t{number}", "timestamp": number + 1, "symbol": "A", "side": "buy", "quantity": 1, "price": 1}]


def count(server):
    return server.sql("SELECT count(*) FROM trades")[0][0]


@pytest.mark.parametrize("lost", ["the log", "the newest part of it", "all of the directory"])
def test_a_log_that_was_lost_while_postgres_is_away_heals_by_itself(postgres, lost):
    server = Server(*SETTINGS, *postgres.settings())
    try:
        server.start()
        copy = server.data_dir.rstrip("/") + ".copy"
        for number in range(10):
            assert server.ingest("trades", trade(number)).status_code == 200
            if number == 4:
                settle(server)
                assert server.stop() == 0
                shutil.copytree(server.data_dir + "/wal", copy)
                server.start()
        settle(server)
        assert server.stop() == 0
        postgres.stop()
        shutil.rmtree(server.data_dir + ("/wal" if lost != "all of the directory" else ""))
        os.makedirs(server.data_dir, exist_ok=True)
        if lost == "the newest part of it":
            shutil.copytree(copy, server.data_dir + "/wal")
        shutil.rmtree(copy)
        server.start(wait=False)
        wait_for(lambda: try_get(server, "/health") is not None, what="an answer")
        assert server.ingest("trades", trade(99)).status_code == 503
        postgres.start()
        server.wait_ready()
        assert "the log was lost, or is an old one" in server.log()
        for number in range(10, 15):
            assert server.ingest("trades", trade(number)).status_code == 200
        settle(server)
        assert count(server) == 15
        # And what went on once goes on with every restart.
        server.kill()
        server.start()
        assert server.ingest("trades", trade(15)).status_code == 200
        settle(server)
        assert count(server) == 16
    finally:
        server.close()


def test_a_directory_that_another_took_the_database_from_loses_nothing_silently(postgres):
    with Server(*SETTINGS, *postgres.settings()) as first:
        assert first.ingest("trades", trade(0)).status_code == 200
        settle(first)
        assert first.stop() == 0
        with Server(*SETTINGS, *postgres.settings()) as second:  # a fresh directory goes on with what is there
            assert count(second) == 1
            for number in range(1, 9):
                assert second.ingest("trades", trade(number)).status_code == 200
            settle(second)
            assert second.stop() == 0
            second.start()  # and again
            assert count(second) == 9
            assert second.stop() == 0
        first.start(wait=False)
        first.process.wait(30)
        assert first.process.returncode != 0 and "another data directory has written to" in first.log()
