"""The README's examples, pasted as they stand (only the port is a free one)."""
import os
import re
import subprocess
import tempfile

from eider import ROOT, Server, run


def examples(section):
    """The commands of a section, one text each."""
    text = open(os.path.join(ROOT, "README.md")).read()
    block = re.search(r"## " + section + r".*?```sh\n(.*?)```", text, re.S).group(1)
    parts = re.split(r"^# \d\. ", block, flags=re.M)[1:]
    return ["# " + part for part in parts]


def test_the_five_examples_work_pasted_one_after_the_other():
    with tempfile.TemporaryDirectory(prefix="eider-readme-") as folder:
        os.symlink(os.path.join(ROOT, "build"), os.path.join(folder, "build"))
        os.symlink(os.path.join(ROOT, "node_modules"), os.path.join(folder, "node_modules"))
        server = Server(data_dir=os.path.join(folder, "data"))
        try:
            server.start()

            def paste(text):
                done = subprocess.run(["sh", "-e", "-c", text.replace(":8000", f":{server.port}")], cwd=folder, text=True,
                                      capture_output=True, timeout=120, env={**os.environ, "HOME": folder})
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout

            write, ask, line, imported, plug = examples("Five examples")
            assert '"accepted":2' in paste(write).replace(" ", "")
            assert paste(ask).replace("\r", "").splitlines() == ["symbol,side,notional", "AAPL,buy,18725.0", "AAPL,sell,7492.4"]
            assert "204" in paste(line).splitlines()[0]
            candles = paste(imported)
            assert '"symbol":"SPX"' in candles and '"count":3' in candles
            answer = paste(plug)
            assert re.search(r"\b2\b", answer), answer
            server.process.wait(10)
        finally:
            server.close()


def test_the_budget_holds_as_the_readme_says():
    with tempfile.TemporaryDirectory(prefix="eider-readme-") as folder:
        os.symlink(os.path.join(ROOT, "build"), os.path.join(folder, "build"))
        server = Server(data_dir=os.path.join(folder, "data"))
        try:
            server.start()

            def paste(text):
                done = subprocess.run(["sh", "-e", "-c", text.replace(":8000", f":{server.port}")], cwd=folder, text=True,
                                      capture_output=True, timeout=120, env={**os.environ, "HOME": folder})
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout

            limit, call, refused, log = examples("A budget that holds")
            paste(limit)
            booked = paste(call).replace(" ", "")
            assert '"event_id"' in booked and '"credits":60' in booked, booked
            answer = paste(refused)
            assert "CIRCUIT_BREAKER_TRIPPED" in answer and "would_exceed" in answer, answer
            proof = paste(log)
            assert "Birdeye" in proof and "60" in proof, proof
        finally:
            server.close()


def test_data_is_kept_for_years_as_the_readme_says():
    with tempfile.TemporaryDirectory(prefix="eider-readme-") as folder:
        os.symlink(os.path.join(ROOT, "build"), os.path.join(folder, "build"))
        server = Server("--set", "backup.dir=backups", data_dir=os.path.join(folder, "data"))
        try:
            server.start()
            assert server.ingest("trades", {"trade_id": "t-1", "symbol": "AAPL", "side": "buy", "quantity": 1, "price": 2,
                                            "timestamp": "2026-01-05T10:00:00"}, ack="applied").status_code == 200

            def paste(text):
                clean = {k: v for k, v in os.environ.items() if not k.startswith("EIDER_")}
                done = subprocess.run(["sh", "-e", "-c", text], cwd=folder, text=True, capture_output=True, timeout=120,
                                      env={**clean, "HOME": folder})
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout

            seal, plan, backup = examples("Data for years")
            sealed = paste(seal)
            assert "trades" in sealed and "2026-01-05" in sealed and "OK" in sealed, sealed
            assert "no rules" in paste(plan)
            paste(backup)
            assert run("sql", "SELECT count(*) FROM trades", "--format", "csv", "--data-dir",
                       os.path.join(folder, "restored")).stdout.split() == ["count_star()", "1"]
        finally:
            server.close()
