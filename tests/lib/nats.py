"""A real nats-server with JetStream on a free loopback port, by process id, and as much of NATS's protocol as the tests
need to make a stream and to read it (https://docs.nats.io/reference/reference-protocols/nats-protocol)."""
import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile

import requests

from eider import free_port, wait_for

BIN = shutil.which("nats-server") or "/usr/sbin/nats-server"


class NatsServer:
    """Restartable on the same port and with the same streams. `args` as for nats-server."""

    def __init__(self, *args, user=None, password=None):
        self.port, self.monitor_port = free_port(), free_port()
        self.dir = tempfile.mkdtemp(prefix="eider-nats-")
        self.user, self.password = user, password
        self.args = [*args, *(["--user", user, "--pass", password] if user else [])]
        self.process = None

    @property
    def url(self):
        credentials = f"{self.user}:{self.password}@" if self.user else ""
        return f"nats://{credentials}127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(
            [BIN, "-js", "-sd", self.dir, "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port),
             "-l", os.path.join(self.dir, "log"), *self.args], stdin=subprocess.DEVNULL)
        wait_for(self.is_ready, what="nats-server")
        return self

    def is_ready(self):
        assert self.process.poll() is None, open(os.path.join(self.dir, "log")).read()
        try:
            return requests.get(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def client_names(self):
        """Of the connections there are."""
        connections = requests.get(f"http://127.0.0.1:{self.monitor_port}/connz", timeout=5).json()["connections"]
        return [connection.get("name") for connection in connections]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- JetStream ----

    def request(self, subject, body):
        """One request, one answer, one connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            stream = sock.makefile("rwb")
            stream.readline()  # INFO
            options = {"verbose": False, "lang": "python", "version": "1", "protocol": 1}
            if self.user:
                options.update(user=self.user, **{"pass": self.password})
            data = json.dumps(body).encode()
            stream.write(b"CONNECT %s\r\nSUB answers 1\r\nPUB %s answers %d\r\n%s\r\n"
                         % (json.dumps(options).encode(), subject.encode(), len(data), data))
            stream.flush()
            while True:
                line = stream.readline().decode()
                assert line and not line.startswith("-ERR"), line
                if line.startswith("MSG "):
                    return json.loads(stream.read(int(line.split()[-1])))
                if line.startswith("PING"):
                    stream.write(b"PONG\r\n")
                    stream.flush()

    def add_stream(self, name, *subjects):
        answer = self.request(f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": subjects})
        assert "error" not in answer, answer

    def messages(self, name):
        """All messages of a stream: (subject, payload)."""
        count = self.request(f"$JS.API.STREAM.INFO.{name}", {})["state"]["last_seq"]
        found = [self.request(f"$JS.API.STREAM.MSG.GET.{name}", {"seq": seq})["message"] for seq in range(1, count + 1)]
        return [(message["subject"], json.loads(base64.b64decode(message["data"]))) for message in found]
