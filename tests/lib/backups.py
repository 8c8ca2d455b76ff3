"""What the tests of backups share: a place for them, dumps of all tables, damage."""
import json
import os
import shutil
import tempfile

from eider import Server, run

SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "sql.rows_max=10000000",
            "--set", "sql.bytes_max=1GiB", "--log-level", "WARNING"]
TABLES = ["market_data", "strategy_metrics", "execution_metrics", "system_metrics", "trades", "candles",
          "performance_history", "series", "samples", "eider_idempotency", "api_event_log"]


class Place:
    """A directory with the original's data, its backups, its archived log, and what is restored."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="eider-backup-")
        self.data = os.path.join(self.root, "data")
        self.backups = os.path.join(self.root, "backups")
        self.archive = os.path.join(self.root, "archive")
        self.made = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.root, ignore_errors=True)

    def settings(self, *more):
        return [*SETTINGS, "--set", f"backup.dir={self.backups}", "--set", f"backup.wal_archive={self.archive}", *more]

    def server(self, *more, data=None, env=None):
        return Server(*self.settings(*more), data_dir=data or self.data, env=env)

    def new_dir(self):
        self.made += 1
        return os.path.join(self.root, f"restored-{self.made}")

    def backup(self, server=None, env=None):
        """Takes one, by the server when there is one; returns what the program says of it."""
        where = ["--url", server.url] if server else ["--data-dir", self.data, "--to", self.backups]
        done = run("backup", *where, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def list(self):
        done = run("backup", "--list", "--to", self.backups, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def verify(self, *backup):
        return run("backup", "--verify", *backup, "--to", self.backups, "--json")

    def restore(self, *options, to=None, env=None):
        """Runs a restore; returns the process and the directory."""
        to = to or self.new_dir()
        return run("restore", "--from", self.backups, "--data-dir", to, "--json", *options, env=env), to

    def files(self):
        """Every file of the pool."""
        found = []
        for here, _, names in os.walk(os.path.join(self.backups, "files")):
            found += [os.path.join(here, name) for name in names]
        return sorted(found)


def dump(server):
    """All rows of all tables; a row with NULLs sorts, too."""
    wait_applied(server)
    return {table: sorted(server.sql(f"SELECT * FROM {table}"), key=repr) for table in TABLES}


def wait_applied(server):
    from eider import wait_for
    wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), what="everything applied")


def dump_of(place, directory):
    """The same of a restored directory, by a server of its own."""
    with Server(*SETTINGS, data_dir=directory) as restored:
        return dump(restored)
