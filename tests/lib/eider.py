"""Starts and stops the real program for the tests, on a free loopback port, by process id."""
import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import requests

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("EIDER_BIN", os.path.join(ROOT, "build", "eider"))
START_TIMEOUT_S = 60


def free_port():
    """A port that was free a moment ago."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """One `eider serve` with a data directory of its own; restartable on the same port."""

    def __init__(self, *args, data_dir=None, env=None, port=None, preexec_fn=None):
        self.args = list(args)
        self.owns_dir = data_dir is None
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="eider-test-")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("EIDER_")}
        self.env["EIDER_STORAGE_COLD_MIN_ROWS"] = "0"  # tests write few rows
        self.env.update(env or {})
        self.port = port or free_port()
        self.preexec_fn = preexec_fn
        self.process = None
        self.log_path = self.data_dir.rstrip("/") + ".log"
        self.session = requests.Session()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, wait=True):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [BIN, "serve", "--port", str(self.port), "--data-dir", self.data_dir, *self.args],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env,
            preexec_fn=self.preexec_fn, cwd=os.path.dirname(self.data_dir))
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s=START_TIMEOUT_S):
        """Returns the seconds it took until /health/ready answered 200."""
        begin = time.monotonic()
        while time.monotonic() - begin < timeout_s:
            if self.process.poll() is not None:
                raise AssertionError(f"eider ended with {self.process.returncode}: {self.log()}")
            if self.is_ready():
                return time.monotonic() - begin
            select.select([], [], [], 0.005)
        raise AssertionError(f"not ready after {timeout_s} s: {self.log()}")

    def is_ready(self):
        """Asks by a bare connection: hundreds of starts are waited for, on the processors that they need."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()[-4000:]

    def kill(self):
        """kill -9, and waits until the process is gone."""
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.session.close()
        self.session = requests.Session()

    def stop(self, timeout_s=30):
        """SIGTERM; returns the exit status."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout_s)
        self.session.close()
        return self.process.returncode if self.process else None

    def close(self):
        self.kill()
        if self.owns_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.log_path)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.close()

    # ---- requests ----

    def get(self, path, **kwargs):
        return self.session.get(self.url + path, timeout=30, **kwargs)

    def post(self, path, **kwargs):
        return self.session.post(self.url + path, timeout=60, **kwargs)

    def ingest(self, table, rows, **params):
        """Posts rows; params become the query. Returns the response."""
        headers = {"Content-Type": "application/json"}
        if "key" in params:
            headers["Idempotency-Key"] = params.pop("key")
        body = rows if isinstance(rows, (str, bytes)) else json.dumps(rows)
        return self.post(f"/api/v1/ingest/{table}", data=body, params=params, headers=headers)

    def sql(self, text, *params):
        """Rows of a statement; tries again while the store is being rebuilt (503, as a client would), fails the test when
        the server refuses it."""
        def ask():
            answer = self.post("/api/v1/sql", json={"sql": text, "params": list(params)})
            return [answer] if answer.status_code != 503 else None  # a refusal's Response is false
        [answer] = wait_for(ask, timeout_s=60, what="an answer of the store")
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]


def run(*args, data=None, env=None, cwd=None, timeout=120):
    """Runs the program to its end; returns the CompletedProcess with text output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EIDER_")}
    clean["EIDER_STORAGE_COLD_MIN_ROWS"] = "0"
    clean.update(env or {})
    return subprocess.run([BIN, *args], input=data, capture_output=True, text=True, env=clean,
                          cwd=cwd, timeout=timeout)


def wait_for(condition, timeout_s=20, what="condition"):
    """Polls until condition() is true and returns its value."""
    begin = time.monotonic()
    while time.monotonic() - begin < timeout_s:
        value = condition()
        if value:
            return value
        select.select([], [], [], 0.02)
    raise AssertionError(f"{what} did not come true within {timeout_s} s")
