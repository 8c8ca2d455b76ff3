"""What is wrong is said by its setting, its file and its place, and what a storage type cannot do is said at once: nobody is sent
to an option that is not there, and nothing that was not looked at is called right."""
import os
import shutil
import subprocess
import tempfile

import pytest

import eider
from eider import Server, run, wait_for
from postgres import Postgres

QUIET = ["--set", "collect.system=false"]
MEMORY = ["--set", "storage.type=memory"]


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


def failure(*args, status, cwd=None):
    done = run(*args, cwd=cwd)
    assert done.returncode == status, done
    return done.stderr


@pytest.mark.parametrize("yaml, said", [
    ("limits: {disk_bytes_max: 64MiB}\n", 'f.yaml:1: limits.disk_bytes_max is "64MiB"; expected more than wal.segment_bytes, 64MiB'),
    ("wal: {segment_bytes: 2MiB}\ndatabases:\n  us:\n    limits: {disk_bytes_max: 1MiB}\n",
     'f.yaml:4: databases.us.limits.disk_bytes_max is "1MiB"; expected more than wal.segment_bytes, 2MiB'),
    ("storage:\n  type: sqlite\n", "f.yaml:2: storage.type: unknown storage type: sqlite"),
    ("databases:\n  eu:\n    limits: {readers: 0}\n", 'f.yaml:3: databases.eu.limits.readers is "0"; expected'),
    ("databases:\n  eu:\n    storage: {type: sqlite}\n", "f.yaml:3: databases.eu.storage.type: unknown storage type: sqlite"),
    ("meter:\n  prices_dir: nowhere\n", "f.yaml:2: meter.prices_dir: "),
    ("log:\n  file: /nowhere/at/all\n", "log.file /nowhere/at/all cannot be opened"),
    ("storage: {type: memory}\nretention: [table=trades max_age=5d]\n", "storage.memory.max_points and storage.memory.max_bytes alone"),
    ("retention: [table=nope max_age=5d]\n", "expected a table's name: "),
])
def test_a_wrong_configuration_names_file_line_and_setting(tmp_path, yaml, said):
    (tmp_path / "f.yaml").write_text(yaml)
    assert said in failure("serve", "--config", "f.yaml", "--port", str(eider.free_port()), status=2, cwd=tmp_path)


def test_a_data_dir_that_is_no_directory_is_named(tmp_path):
    (tmp_path / "f.yaml").write_text("data_dir: /etc/passwd\n")
    said = failure("serve", "--config", "f.yaml", "--port", str(eider.free_port()), status=1, cwd=tmp_path)
    assert "f.yaml:1: data_dir is /etc/passwd, which is no directory" in said


@pytest.mark.parametrize("setting", ["backup.dir", "backup.wal_archive"])
def test_a_place_for_backups_that_cannot_be_made_is_said_at_once_and_until_it_can(tmp_path, setting):
    blocked = tmp_path / "blocked"
    blocked.write_text("no directory")
    with Server(*QUIET, "--set", f"{setting}={blocked}/here") as server:
        said = wait_for(lambda: server.get("/health").json().get("warning"), what="the warning")
        assert said.startswith(setting) and "Not a directory" in said and str(blocked) in said, said
        assert server.get("/health").json()["status"] == "healthy" and said in server.log()
        assert server.ingest("metrics", [{"metric_name": "m", "value": 1}], ack="applied").status_code == 200
        if setting == "backup.dir":
            assert "backup.dir (flag --set backup.dir): cannot make the directory" in failure(
                "backup", "--data-dir", server.data_dir, status=1)
            server.stop()
            assert "backup.dir (flag --set backup.dir)" in failure(
                "backup", "--data-dir", server.data_dir, "--set", f"backup.dir={blocked}/here", status=1)
            server.start()
            wait_for(lambda: server.get("/health").json().get("warning"), what="the warning")
        blocked.unlink()
        wait_for(lambda: "warning" not in server.get("/health").json(), what="no warning any more")


def test_a_backup_dir_without_effect_is_told(postgres):
    postgres.ask("CREATE DATABASE nobackup")
    for storage in (MEMORY, postgres.settings("--set", "storage.postgres.database=nobackup")):
        done = run("config", *storage, "--set", "backup.dir=b")
        with Server(*QUIET, *storage, "--set", "backup.dir=b") as server:
            assert "backup.dir has no effect: " in server.log() and done.returncode == 0
            assert "warning" not in server.get("/health").json()


def test_a_database_that_refuses_all_writes_is_not_healthy():
    with Server(*QUIET, "--set", "wal.segment_bytes=1MiB", "--set", f"limits.disk_bytes_max={(1 << 20) + 1}") as server:
        health = wait_for(lambda: (lambda h: h if h["status"] != "healthy" else None)(server.get("/health").json()), what="bad health")
        assert "limits.disk_bytes_max is 1048577" in health["detail"] and "refuses all writes" in health["detail"]
        answer = server.ingest("metrics", [{"metric_name": "m", "value": 1}])
        assert answer.status_code == 503 and answer.json()["detail"].count("nothing was written") == 1, answer.text


def test_an_unknown_setting_of_a_flag_says_where_all_are(tmp_path):
    assert "flag --set foo: unknown setting foo; `eider config` lists all of them" in failure("config", "--set", "foo=1", status=2, cwd=tmp_path)


def test_tables_that_are_possible_are_named(tmp_path):
    assert "expected a table that is sealed: " in (said := failure("seal", "--table", "nonsense", status=2, cwd=tmp_path)) and "trades" in said, said
    (tmp_path / "X.csv").write_text("date,close\n2024-01-01,1\n")
    assert "import: --set: no table has a column foo" in failure("import", "X.csv", "--set", "foo=1", "--data-dir", str(tmp_path / "d"), status=2, cwd=tmp_path)
    with Server(*QUIET) as server:
        answer = server.ingest("nope", [{}])
        assert answer.status_code == 404 and "expected one of " in answer.text and "trades" in answer.text, answer.text
        answer = server.post("/api/v1/admin/seal?table=nope", json={})
        assert answer.status_code == 422 and "trades" in answer.text, answer.text
        answer = server.ingest("market_data", [{"last_price": 1}])
        assert "symbol: expected a text (required), but it is missing" in answer.json()["detail"], answer.text


def test_a_stopped_memory_store_says_what_holds_for_it():
    with Server(*QUIET, *MEMORY, "--set", "backup.dir=b") as server:
        assert server.ingest("trades", [{"trade_id": "t", "symbol": "A", "side": "buy", "quantity": 1, "price": 1}], ack="applied").status_code == 200
        where = [*MEMORY, "--data-dir", server.data_dir]
        assert "nothing to optimize" in failure("optimize", *where, status=1)
        assert "it drops the oldest points itself" in failure("retention", *where, status=1)
        server.stop()
        for command in ("seal", "retention"):
            said = failure(command, *where, status=1)
            assert "storage.type is memory" in said and "--url" not in said, said
        assert "nothing that could be backed up" in failure("backup", *where, status=1)
        assert "--url" in failure("sql", "SELECT 1", *where, status=1)
        checked = run("check", "--explain", *where)
        assert checked.returncode == 0 and "the log and its copy are all that was checked" in checked.stdout, checked


def test_check_asks_postgres(postgres):
    with Server(*QUIET, *postgres.settings()) as server:
        assert server.ingest("trades", [{"trade_id": "t", "symbol": "A", "side": "buy", "quantity": 1, "price": 1}], ack="applied").status_code == 200
        applied = server.get("/health").json()["applied_lsn"]
        assert "nothing to optimize" in failure("optimize", "--data-dir", server.data_dir, status=1)
        server.stop()
        where = [*postgres.settings(), "--data-dir", server.data_dir]
        assert "pg_dump" in failure("backup", *where, status=1)
        good = run("check", "--explain", *where)
        assert good.returncode == 0 and f"applied to LSN {applied}" in good.stdout and "schema version" in good.stdout, good
        found = run("check", "--json", *where)
        assert '"storage":"postgres","database_checked":true' in found.stdout, found
        shutil.rmtree(os.path.join(server.data_dir, "wal"))
        os.mkdir(os.path.join(server.data_dir, "wal"))
        assert "LOG_OLDER" in run("check", "--explain", *where).stdout
        with open(os.path.join(server.data_dir, "database"), "w") as file:
            file.write("of-another-log")
        other = run("check", "--explain", *where)
        assert other.returncode == 1 and "DATABASE_OTHER" in other.stdout, other
        postgres.stop()
        away = run("check", "--explain", *where)
        assert away.returncode == 1 and "DATABASE_AWAY" in away.stdout and "Nothing is wrong" not in away.stdout, away
        postgres.start()


def test_a_directory_without_rights_is_no_missing_one():
    with Server(*QUIET) as server:
        as_root = os.getuid() == 0  # to whom nothing is closed: nobody asks then
        os.chmod(server.data_dir, 0o700 if as_root else 0)
        for command in (["sql", "SELECT 1"], ["check"], ["backup", "--to", "/tmp/nowhere-at-all"]):
            done = subprocess.run([*(["setpriv", "--reuid=nobody", "--clear-groups"] if as_root else []), eider.BIN, *command, "--data-dir", server.data_dir],
                                  capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]}, check=False)
            assert done.returncode == 1 and "cannot be read by this user" in done.stderr and "Permission denied" in done.stderr, done
        os.chmod(server.data_dir, 0o700)


def test_a_database_that_failed_says_why_as_the_server_does():
    base = tempfile.mkdtemp(prefix="eider-test-")
    try:
        path = os.path.join(base, "f.yaml")
        blocked = os.path.join(base, "blocked")
        with open(blocked, "w") as file:
            file.write("no directory")
        with open(path, "w") as file:
            file.write(f"collect: {{system: false}}\ndatabases:\n  bad: {{data_dir: {blocked}}}\n")
        with Server("--config", path, data_dir=os.path.join(base, "data")) as server:
            wait_for(lambda: "blocked" in server.log(), what="the failure")
            answer = server.post("/db/bad/api/v1/sql", json={"sql": "SELECT 1"})
            assert answer.status_code == 503, answer.text
            said = failure("sql", "SELECT 1", "--config", path, "--data-dir", server.data_dir, "--database", "bad", status=1)
            assert answer.json()["detail"] in said and "no server runs" not in said, said
    finally:
        shutil.rmtree(base)
