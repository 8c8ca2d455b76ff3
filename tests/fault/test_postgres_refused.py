"""PostgreSQL that is there and refuses: a database, a user or a password that is wrong, a database that another Eider writes to.
It is said at once, by the setting; the process stays and goes on by itself when somebody puts it right; it stops as ever."""
import contextlib
import select
import socket

import pytest
import requests

from eider import Server, run, wait_for
from postgres import Postgres
from slow_way import SlowWay

SETTINGS = ["--set", "collect.system=false", "--log-level", "INFO"]
SECRET = "a-secret-of-postgres"
WRONG = "some-other-password"
STOP_S = 8  # less than any wait for PostgreSQL


@pytest.fixture(scope="module")
def postgres():
    with Postgres(password=SECRET) as server:
        yield server


def trade(number):
    return [{"trade_id": f"t{number}", "timestamp": number + 1, "symbol": "A", "side": "buy", "quantity": 1, "price": 1}]


def ask(server, path):
    """The answer to a GET, once there is one."""
    def once():
        with contextlib.suppress(requests.RequestException):
            return [requests.get(server.url + path, timeout=5)]
    return wait_for(once, what=f"an answer to {path}")[0]


def stalled(server, *texts):
    """/health once it says all of these."""
    def says():
        body = ask(server, "/health").json()
        return body if all(text in body.get("detail", "") for text in texts) else None
    return wait_for(says, what=f"{texts} in /health")


REFUSED = {
    "database": (["storage.postgres.database=nope"], "3D000", ['"nope"', "storage.postgres.database", 'create the database "nope"'],
                 "CREATE DATABASE nope"),
    "database of a dsn": (["storage.postgres.dsn=dbname=nope2", "storage.postgres.database="], "3D000",
                          ['"nope2"', "storage.postgres.dsn"], "CREATE DATABASE nope2"),
    "password": (["storage.postgres.user=writer", f"storage.postgres.password={WRONG}"], "28P01",
                 ['"writer"', "storage.postgres.user", "storage.postgres.password"], f"ALTER ROLE writer PASSWORD '{WRONG}'"),
    "user": (["storage.postgres.user=nobody"], "28P01", ['"nobody"', "storage.postgres.user"],
             f"CREATE ROLE nobody SUPERUSER LOGIN PASSWORD '{SECRET}'"),
    "user that may not log in": (["storage.postgres.user=locked"], "28000", ['"locked"', "storage.postgres.user"],
                                 "ALTER ROLE locked LOGIN"),
}


@pytest.fixture(scope="module")
def roles(postgres):
    postgres.ask("CREATE ROLE writer SUPERUSER LOGIN PASSWORD 'x'")
    postgres.ask(f"CREATE ROLE locked SUPERUSER PASSWORD '{SECRET}'")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_mend_itself_is_said_by_its_setting(postgres, roles, name):
    more, state, texts, cure = REFUSED[name]
    more = [word for setting in [f"storage.postgres.password={SECRET}", *more] for word in ("--set", setting)]
    server = Server(*SETTINGS, *postgres.settings(*more))
    try:
        server.start(wait=False)
        detail = stalled(server, "PostgreSQL")["detail"]  # not "it is being opened"
        ready = ask(server, "/health/ready")
        assert ready.status_code == 503 and ready.json()["detail"] == detail
        assert state in detail and all(text in detail for text in texts), detail
        assert detail in server.log()
        assert SECRET not in server.log() and WRONG not in server.log() and WRONG not in detail
        assert server.stop(STOP_S) == 0
        done = run("migrate", "schema", "status", "--data-dir", server.data_dir, *postgres.settings(*more))
        assert done.returncode == 1 and detail in done.stderr
        server.start(wait=False)
        stalled(server, detail)
        postgres.ask(cure)  # meanwhile somebody creates it
        server.wait_ready()
        assert server.ingest("trades", trade(1), ack="applied").status_code == 200
        assert server.stop() == 0
    finally:
        server.close()


def test_no_password_at_all_is_said(postgres):
    server = Server(*SETTINGS, *postgres.settings(), env={"PGPASSFILE": "/nonexistent"})
    try:
        server.start(wait=False)
        detail = stalled(server, "PostgreSQL")["detail"]  # not "it is being opened"
        assert "asks for a password" in detail and "storage.postgres.password is not set" in detail, detail
        assert server.stop(STOP_S) == 0
    finally:
        server.close()


def test_writes_go_on_when_the_password_is_changed(postgres):
    postgres.ask(f"CREATE ROLE changing SUPERUSER LOGIN PASSWORD '{SECRET}'")
    postgres.ask("CREATE DATABASE changing")
    with Server(*SETTINGS, *postgres.settings("--set", "storage.postgres.user=changing", "--set", "storage.postgres.database=changing",
                                              "--set", f"storage.postgres.password={SECRET}")) as server:
        assert server.ingest("trades", trade(1), ack="applied").status_code == 200
        postgres.ask(f"ALTER ROLE changing PASSWORD '{WRONG}'")
        postgres.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'")
        for number in range(2, 12):
            assert server.ingest("trades", trade(number)).status_code == 200
        stalled(server, "28P01", '"changing"', "storage.postgres.password")

        def refused():  # at first a connection may be found cut
            answer = server.post("/api/v1/sql", json={"sql": "SELECT 1"})
            return answer.status_code == 503 and "storage.postgres.password" in answer.json()["detail"]
        wait_for(refused, what="a read that names the setting")
        assert server.ingest("trades", trade(12)).status_code == 200
        postgres.ask(f"ALTER ROLE changing PASSWORD '{SECRET}'")
        assert wait_for(lambda: server.sql("SELECT count(*) FROM trades") == [[12]], what="all rows")
        assert SECRET not in server.log()
        assert server.stop() == 0


def test_a_database_that_another_eider_writes_to_is_said_and_does_not_hold_up_a_stop(postgres):
    postgres.ask("CREATE DATABASE shared")
    more = postgres.settings("--set", "storage.postgres.database=shared", "--set", f"storage.postgres.password={SECRET}")
    with Server(*SETTINGS, *more) as first:
        assert first.ingest("trades", trade(1), ack="applied").status_code == 200
        second = Server(*SETTINGS, *more)
        try:
            second.start(wait=False)
            stalled(second, "another Eider writes to this database")
            assert "another Eider writes to this database" in second.log()
            assert second.stop(STOP_S) == 0
            second.start(wait=False)
            stalled(second, "another Eider writes to this database")
            assert first.stop() == 0
            second.wait_ready()  # by itself, once the other is gone
            assert second.sql("SELECT count(*) FROM trades") == [[1]]
            assert second.stop() == 0
        finally:
            second.close()


def test_a_server_that_never_answers_does_not_hold_up_a_stop(postgres):
    server = Server(*SETTINGS, *postgres.settings("--set", f"storage.postgres.password={SECRET}"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        server.args += ["--set", f"storage.postgres.port={silent.getsockname()[1]}"]
        try:
            server.start(wait=False)
            ask(server, "/health")
            silent.listen()  # connections come, and nothing is ever said
            with silent.accept()[0] as taken:
                assert select.select([taken], [], [], 30)[0], "it begins to speak"
                assert server.stop(STOP_S) == 0
        finally:
            server.close()


def test_a_slow_answer_about_the_lock_is_no_other_eider(postgres):
    postgres.ask("CREATE DATABASE slow")
    with SlowWay(postgres.port, b"advisory_lock", hold_s=1) as way:
        more = postgres.settings("--set", "storage.postgres.database=slow", "--set", f"storage.postgres.password={SECRET}",
                                 "--set", f"storage.postgres.port={way.port}", "--set", "storage.postgres.sslmode=disable")
        with Server(*SETTINGS, *more) as server:
            wait_for(lambda: server.get("/health").json()["status"] == "healthy", what="a healthy server")
            assert way.held.is_set() and "another Eider" not in server.log(), server.log()
            assert server.ingest("trades", trade(1), ack="applied").status_code == 200
            assert server.stop() == 0


@pytest.mark.parametrize("wholly", [False, True], ids=["one connection", "the whole host"])
def test_a_lock_that_is_never_answered_does_not_hold_up_a_stop(postgres, wholly):
    name = f"silent_{int(wholly)}"
    postgres.ask(f"CREATE DATABASE {name}")
    with SlowWay(postgres.port, b"advisory_lock", hold_s=60, wholly=wholly) as way:
        server = Server(*SETTINGS, *postgres.settings("--set", f"storage.postgres.database={name}",
                                                      "--set", f"storage.postgres.password={SECRET}",
                                                      "--set", f"storage.postgres.port={way.port}", "--set", "storage.postgres.sslmode=disable"))
        try:
            server.start(wait=False)
            assert way.held.wait(60), server.log()
            assert server.stop(STOP_S) == 0
            assert "does not answer while it is set up" in server.log() and "the query took" not in server.log(), server.log()
        finally:
            server.close()


def test_a_read_of_a_host_that_froze_ends(postgres):
    """Its cancellation is taken by nobody, either."""
    postgres.ask("CREATE DATABASE frozen")
    with SlowWay(postgres.port, b"froze_here", hold_s=300, wholly=True) as way:
        more = postgres.settings("--set", "storage.postgres.database=frozen", "--set", f"storage.postgres.password={SECRET}",
                                 "--set", f"storage.postgres.port={way.port}", "--set", "storage.postgres.sslmode=disable")
        with Server(*SETTINGS, *more, "--set", "storage.duckdb.query_timeout=2s") as server:
            answer = server.post("/api/v1/sql", json={"sql": "SELECT 1 AS froze_here"})  # hangs for ever where that is waited for
            assert way.held.is_set() and answer.status_code in (503, 504), answer.text
            way.go_on.set()
            way.held.clear()  # it passes again
            assert wait_for(lambda: server.post("/api/v1/sql", json={"sql": "SELECT 1"}).status_code == 200, what="an answer")
            assert server.stop() == 0
