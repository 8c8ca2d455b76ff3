"""A PostgreSQL server of a test's own: a cluster in a temporary directory, on a loopback port and a Unix socket, stopped by
its process id. As root it runs as the user `postgres`, since PostgreSQL refuses to be root."""
import atexit
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from eider import free_port

START_TIMEOUT_S = 60


class Postgres:
    clusters = {}  # by password: one that initdb made, which the others are copied from; initdb takes seconds

    def __init__(self, password=None, options=()):
        self.bin = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        self.dir = tempfile.mkdtemp(prefix="eider-pg-")
        self.as_user = (["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else [])
        if self.as_user:
            shutil.chown(self.dir, "postgres")
        self.port = free_port()
        self.password = password
        self.options = list(options)
        self.process = None
        self._init()

    def _init(self):
        if self.password not in self.clusters:
            self.clusters[self.password] = self._new_cluster()
        subprocess.run(["cp", "-a", self.clusters[self.password], self.data], check=True)

    def _new_cluster(self):
        """Runs initdb in a directory that is there until the tests are over."""
        where = tempfile.mkdtemp(prefix="eider-pg-")
        atexit.register(shutil.rmtree, where, ignore_errors=True)
        if self.as_user:
            shutil.chown(where, "postgres")
        auth = ["-A", "trust"]
        if self.password:
            file = os.path.join(where, "password")
            with open(file, "w") as out:
                out.write(self.password)
            os.chmod(file, 0o644)
            auth = ["-A", "scram-sha-256", "--pwfile", file]
        data = os.path.join(where, "data")
        subprocess.run([*self.as_user, os.path.join(self.bin, "initdb"), "-D", data, "-U", "eider", "-E", "UTF8",
                        "--locale=C.UTF-8", "--no-sync", *auth], check=True, stdout=subprocess.DEVNULL, cwd=where)
        return data

    @property
    def data(self):
        return os.path.join(self.dir, "data")

    def start(self):
        log = open(os.path.join(self.dir, "log"), "ab")
        # fsync off: the machine does not fail in these tests, processes do.
        self.process = subprocess.Popen(
            [*self.as_user, os.path.join(self.bin, "postgres"), "-D", self.data, "-k", self.dir, "-h", "127.0.0.1",
             "-p", str(self.port), "-F", *self.options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir)
        log.close()
        begin = time.monotonic()
        while time.monotonic() - begin < START_TIMEOUT_S:
            if subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", self.dir, "-p", str(self.port)],
                              check=False).returncode == 0:
                return self
            if self.process.poll() is not None:
                break
            select.select([], [], [], 0.02)
        with open(os.path.join(self.dir, "log"), errors="replace") as file:
            raise AssertionError(f"PostgreSQL does not start: {file.read()[-2000:]}")

    def stop(self, how=signal.SIGINT):
        """SIGINT ends it at once but in order, SIGQUIT as a crash would."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def replace(self):
        """The disk was lost: an empty cluster takes the place of this one, which must be stopped."""
        shutil.rmtree(self.data)
        self._init()

    def close(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.close()

    def ask(self, sql):
        """Rows of a statement as lists of texts."""
        env = {**os.environ, "PGPASSWORD": self.password or ""}
        done = subprocess.run(["psql", "-h", self.dir, "-p", str(self.port), "-U", "eider", "-d", "postgres", "-qAtX", "-F", "\t",
                               "-c", sql], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def settings(self, *more):
        """Arguments for `eider serve`."""
        return ["--set", "storage.type=postgres", "--set", "storage.postgres.host=127.0.0.1", "--set",
                f"storage.postgres.port={self.port}", "--set", "storage.postgres.user=eider", "--set",
                "storage.postgres.database=postgres", *more]
