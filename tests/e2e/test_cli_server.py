"""The commands against servers that ask for a token or speak TLS, after a crash, and on a terminal."""
import json
import os
import pty
import select
import subprocess
import time

from eider import BIN, ROOT, Server, run, wait_for

STOCKS = os.path.join(ROOT, "node_modules", "vega-datasets", "data", "stocks.csv")
COUNT = "SELECT count(*) AS n FROM market_data"


def test_token_comes_from_environment_or_flag(tmp_path):
    with Server("--set", "collect.system=false", env={"EIDER_TOKEN": "sesame"}) as server:
        where = ["--data-dir", server.data_dir]
        refused = run("import", STOCKS, *where, cwd=tmp_path)
        assert refused.returncode == 1 and "asks for a token; give it with EIDER_TOKEN" in refused.stderr
        assert run("import", STOCKS, *where, "--token", "wrong", cwd=tmp_path).returncode == 1
        assert run("import", STOCKS, *where, env={"EIDER_TOKEN": "sesame"}, cwd=tmp_path).returncode == 0
        assert json.loads(run("sql", "--json", COUNT, *where, "--token", "sesame", cwd=tmp_path).stdout) == [{"n": 560}]


def test_tls_server_is_found_through_the_lock_file(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "2",
                    "-subj", "/CN=eider.example"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (tmp_path / "eider.yaml").write_text(f"server: {{tls: {{certfile: {tmp_path}/c.pem, keyfile: {tmp_path}/k.pem}}}}\n"
                                         f"collect: {{system: false}}\ndata_dir: {tmp_path}/data\n")
    server = Server("--config", str(tmp_path / "eider.yaml"), data_dir=str(tmp_path / "data"))
    os.makedirs(server.data_dir, exist_ok=True)
    try:
        server.start(wait=False)
        lock = os.path.join(server.data_dir, "lock")
        wait_for(lambda: os.path.exists(lock) and "https://" in open(lock).read(), what="the address in the lock file")
        done = wait_for(lambda: (lambda d: d if d.returncode == 0 else None)(run("import", STOCKS, cwd=tmp_path)), what="import")
        assert "560 written" in done.stdout
        assert json.loads(run("sql", "--json", COUNT, cwd=tmp_path).stdout) == [{"n": 560}]
        # A name that does not fit is refused where the address was typed.
        typed = run("sql", COUNT, "--url", f"https://127.0.0.1:{server.port}", cwd=tmp_path)
        assert typed.returncode == 1 and "cannot reach https://" in typed.stderr
    finally:
        server.close()


def test_rows_acknowledged_before_a_crash_are_seen_without_a_server(tmp_path):
    os.mkdir(tmp_path / "data")
    with Server("--set", "collect.system=false", data_dir=str(tmp_path / "data")) as server:
        rows = [{"timestamp": f"2026-01-01T00:00:{i:02d}", "symbol": "A", "last_price": i} for i in range(60)]
        assert server.ingest("market_data", rows).json()["accepted"] == 60
        server.kill()
        assert json.loads(run("sql", "--json", COUNT, cwd=tmp_path).stdout) == [{"n": 60}]
        assert run("check", cwd=tmp_path).returncode == 0
        exported = run("export", "market_data", cwd=tmp_path)
        assert len(exported.stdout.splitlines()) == 61


def test_check_shows_the_health_of_a_running_server(server, tmp_path):
    done = run("check", "--data-dir", server.data_dir, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["ok"] and found["url"] == server.url and found["health"]["status"] == "healthy"
    assert run("check", "--url", server.url, cwd=tmp_path).stdout.startswith(f"server {server.url}\n")


def test_serve_refuses_a_directory_in_use(server, tmp_path):
    done = run("serve", "--port", "0", "--data-dir", server.data_dir, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") >= 1 and "another process" in done.stderr


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *args, cwd):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.environ["TERM"] = "dumb"
            os.execv(BIN, [BIN, *args])
        self.seen = ""

    def read_until(self, text, timeout_s=60):
        begin = time.monotonic()
        while text not in self.seen:
            assert time.monotonic() - begin < timeout_s, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode()
                except OSError:
                    break
        assert text in self.seen, self.seen
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_prompt_answers_statements_and_survives_mistakes(server, tmp_path):
    server.ingest("market_data", {"timestamp": "2026-01-01", "symbol": "A"}, ack="applied")
    terminal = Terminal("sql", "--data-dir", server.data_dir, cwd=tmp_path)
    terminal.read_until("eider> ")
    terminal.send("SELECT symbol\n")
    terminal.read_until("    -> ")
    terminal.send("FROM market_data;\n")
    assert "(1 row)" in terminal.read_until("eider> ")
    terminal.send("SELECT nothing;\n")
    assert "eider: " in terminal.read_until("eider> ")
    terminal.send("\\d\n")
    assert "market_data" in terminal.read_until("eider> ")
    terminal.send("\\q\n")
    assert terminal.wait() == 0
