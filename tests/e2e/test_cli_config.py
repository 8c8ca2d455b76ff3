"""The layers of the configuration and what is said about mistakes, through the real program."""
import json
import os

import pytest

from eider import run


def settings(tmp_path, *args, env=None):
    done = run("config", "--json", *args, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refuse(tmp_path, *args, env=None, command="config"):
    done = run(command, *args, env=env, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("eider: ")
    return done.stderr[len("eider: "):].strip()


def test_each_layer_wins_over_the_one_before(tmp_path):
    (tmp_path / "eider.yaml").write_text("server:\n  port: 1001\n  host: 127.0.0.2\nlog: {level: error}\n")
    found = settings(tmp_path, "--port", "1003", env={"API_PORT": "1002", "LOG_LEVEL": "DEBUG"})["settings"]
    assert (found["server.port"]["value"], found["server.port"]["origin"]) == (1003, "flag --port")
    assert (found["log.level"]["value"], found["log.level"]["origin"]) == ("debug", "environment LOG_LEVEL")
    assert (found["server.host"]["value"], found["server.host"]["origin"]) == ("127.0.0.2", "eider.yaml:3")
    assert (found["data_dir"]["value"], found["data_dir"]["layer"]) == ("data", "default")


def test_json_file_of_the_originals(tmp_path):
    (tmp_path / "system.json").write_text(json.dumps({"observability": {"database": {
        "type": "duckdb", "path": "data/metrics.duckdb", "threads": 4, "memory_limit": "4GB"}}}))
    found = settings(tmp_path, "--config", "system.json")["settings"]
    assert found["storage.duckdb.path"]["value"] == "metrics.duckdb"
    assert found["storage.duckdb.memory_limit"] == {"value": 4000000000, "unit": "bytes", "layer": "file", "origin": "system.json:1"}


def test_retired_names_are_accepted_with_the_reason(tmp_path):
    notes = settings(tmp_path, env={"BATCH_SIZE": "100", "WRITE_INTERVAL": "1", "EIDER_PROT": "1"})["notes"]
    assert any(note.startswith("environment BATCH_SIZE: accepted, no effect: ") for note in notes)
    assert any("did you mean EIDER_PORT?" in note for note in notes)


def test_secrets_are_masked(tmp_path):
    done = run("config", env={"EIDER_TOKEN": "tiger"}, cwd=tmp_path)
    assert "tiger" not in done.stdout and "****" in done.stdout


def test_mistakes_are_named(tmp_path):
    (tmp_path / "typo.yaml").write_text("server:\n  host: 127.0.0.1\n  prot: 1\n")
    assert refuse(tmp_path, "--config", "typo.yaml") == "typo.yaml:3: unknown setting server.prot; did you mean server.port?"
    assert refuse(tmp_path, env={"API_PORT": "x"}) == "environment API_PORT: server.port is \"x\"; expected a whole number from 0 to 65535"
    assert refuse(tmp_path, "--storage", "mongo") == "flag --storage: storage.type: unknown storage type: mongo; expected duckdb, memory or postgres"
    assert refuse(tmp_path, "--prot", "1", command="serve") == "serve: unknown option --prot; did you mean --port?"


def test_serve_refuses_what_is_unsafe(tmp_path):
    message = refuse(tmp_path, "--host", "0.0.0.0", command="serve")
    assert "can be reached from other machines" in message and "--insecure" in message
    assert "TLS needs both" in refuse(tmp_path, "--ssl-certfile", "c.pem", command="serve")
    assert not os.path.exists(tmp_path / "data")


def test_a_variable_that_is_not_set_is_an_error(tmp_path):
    (tmp_path / "eider.yaml").write_text("server:\n  token: ${NO_SUCH_TOKEN}\n")
    assert refuse(tmp_path) == "eider.yaml:2: server.token: environment variable NO_SUCH_TOKEN is not set; set it or write ${NO_SUCH_TOKEN:-default}"


SECRETS = """
data_dir: {dir}/data
server:
  token: ${{NO_SUCH_TOKEN}}
  tokens: [{{name: reader, scopes: [read], token: "${{NO_SUCH_READER}}"}}]
storage:
  postgres: {{dsn: "${{NO_SUCH_DSN}}", password: "${{NO_SUCH_PASSWORD}}"}}
meter:
  prices_dir: ${{NO_SUCH_PRICES}}
  head_nats: {{url: "nats://u:${{NO_SUCH_NATS}}@127.0.0.1:1"}}
gateway:
  upstreams:
    a: {{base_url: "${{NO_SUCH_BASE}}", headers: {{X-API-KEY: "${{NO_SUCH_KEY}}"}}}}
databases:
  eu:
    tokens: [{{name: writer, scopes: [ingest], token: "${{NO_SUCH_EU}}"}}]
    storage: {{postgres: {{database: "${{NO_SUCH_EU_NAME}}"}}}}
    data_dir: {dir}/eu
  us:
    data_dir: ${{NO_SUCH_US_DIR}}
    storage: {{postgres: {{database: us}}}}
"""


@pytest.fixture
def secrets(tmp_path):
    """A directory with a file of secrets, none of whose variables is set."""
    (tmp_path / "eider.yaml").write_text(SECRETS.format(dir=tmp_path).lstrip())
    (tmp_path / "rows.ndjson").write_text('{"metric_name": "m", "value": 1, "timestamp": "2026-01-02T03:04:05Z"}\n')
    return tmp_path


@pytest.mark.parametrize("database", [[], ["--database", "eu"]])
def test_a_command_asks_only_for_the_variables_it_uses(secrets, database):
    assert run("import", "rows.ndjson", "--table", "metrics", cwd=secrets).returncode == 0
    for command in (["import", "rows.ndjson", "--table", "metrics"], ["sql", "SELECT count(*) FROM samples"], ["export", "samples"],
                    ["check"], ["check", "--explain", "--repair"], ["migrate", "schema", "status"], ["seal"], ["retention", "plan"],
                    ["optimize"], ["eventlog", "verify"], ["backup", "--to", "backups"], ["backup", "--to", "backups", "--list"],
                    ["restore", "--from", "backups", "--data-dir", "restored"]):
        done = run(*command, *([] if command[0] in ("restore", "eventlog") else database), cwd=secrets)
        assert done.returncode == 0, (command, done.stderr)


def test_a_command_names_the_variable_that_it_uses(secrets):
    """By file, line, setting and variable; a value that something else gives is not asked for."""
    def refused(*args, env=None):
        done = run(*args, env=env, cwd=secrets)
        assert done.returncode == 2 and done.stdout == "", args
        return done.stderr

    def text(line, setting, name):
        return (f"eider: eider.yaml:{line}: {setting}: environment variable {name} is not set; set it or write "
                f"${{{name}:-default}}\n")
    token = text(3, "server.token", "NO_SUCH_TOKEN")
    assert refused("check", "--url", "http://127.0.0.1:1") == token
    assert refused("spend", "budgets", "--url", "http://127.0.0.1:1") == token
    for given in (["--token", "t"], []):
        done = run("check", "--url", "http://127.0.0.1:1", *given, env={} if given else {"EIDER_TOKEN": "t"}, cwd=secrets)
        assert done.returncode == 1 and "NO_SUCH" not in done.stderr
    assert run("import", "rows.ndjson", "--table", "metrics", cwd=secrets).returncode == 0
    assert refused("eventlog", "reprice", "--dry-run") == text(8, "meter.prices_dir", "NO_SUCH_PRICES")
    postgres = ["--set", "storage.type=postgres"]
    assert refused("migrate", "schema", "status", *postgres) == text(6, "storage.postgres.dsn", "NO_SUCH_DSN")
    assert refused("migrate", "schema", "status", *postgres, "--set", "storage.postgres.dsn=host=127.0.0.1") == text(
        6, "storage.postgres.password", "NO_SUCH_PASSWORD")
    assert refused("migrate", "schema", "status", *postgres, "--database", "eu", env={
        "NO_SUCH_DSN": "host=127.0.0.1", "NO_SUCH_PASSWORD": "p"}) == text(
            16, "databases.eu.storage.postgres.database", "NO_SUCH_EU_NAME")
    assert refused("sql", "SELECT 1", "--database", "us") == text(19, "databases.us.data_dir", "NO_SUCH_US_DIR")
    for command in ("serve", "config"):
        assert refused(command) == token
        assert refused(command, "--token", "t") == token
    given = {name: "long-enough" for name in ("NO_SUCH_TOKEN", "NO_SUCH_READER", "NO_SUCH_DSN", "NO_SUCH_PASSWORD", "NO_SUCH_PRICES",
                                       "NO_SUCH_NATS")}
    assert refused("config", env={**given, "NO_SUCH_BASE": "http://127.0.0.1:1"}) == text(
        12, "gateway.upstreams.a.headers.X-API-KEY", "NO_SUCH_KEY")
