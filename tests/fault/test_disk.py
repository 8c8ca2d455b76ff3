"""Full disk, unreadable database, garbage in the directory and on the port: the same oracle as for kills."""
import glob
import os
import random
import shutil
import socket

import pytest

from eider import Server, wait_for
from oracle import Oracle
from small_disk import Ballast, small_disk

SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "sql.rows_max=10000000",
            "--set", "sql.bytes_max=1GiB", "--log-level", "WARNING"]


def write_for(oracle, server, acks):
    """Load until so many more requests were acknowledged."""
    goal = oracle.acks + acks
    stop, threads = oracle.run(server, 1)
    wait_for(lambda: oracle.acks >= goal or server.process.poll() is not None, timeout_s=60, what=f"{acks} acknowledged writes")
    stop.set()
    for thread in threads:
        thread.join()


def judge(oracle, server):
    wait_for(lambda: server.get("/health").json()["applied_lsn"] == server.get("/health").json()["durable_lsn"], timeout_s=60,
             what="everything applied")
    bad = oracle.verdict(server.sql)
    assert not bad, f"{bad}; {server.log()}"


@pytest.fixture
def disk():
    with small_disk(48) as path:
        yield path


def test_full_disk_stops_acknowledging_and_recovers_by_itself(disk):
    oracle = Oracle(7)
    server = Server(*SETTINGS, data_dir=os.path.join(disk, "data"))
    try:
        server.start()
        write_for(oracle, server, 200)
        ballast = Ballast(disk)
        ballast.fill()
        stop, threads = oracle.run(server, 1)
        wait_for(lambda: "space" in server.get("/health").json().get("detail", "").lower(), timeout_s=60,
                 what="red health that names the reason")
        # The log's preallocated space may take some more writes; then they are refused.
        wait_for(lambda: oracle.refusals > 0, timeout_s=60, what="a refused write")
        refused = server.ingest("trades", {"trade_id": "refused", "symbol": "A", "side": "buy", "quantity": 1, "price": 1})
        assert refused.status_code == 503 and refused.headers["Retry-After"], refused.text
        ballast.remove()
        wait_for(lambda: server.get("/health").status_code == 200, timeout_s=60, what="green health again")
        goal = oracle.acks + 100
        wait_for(lambda: oracle.acks > goal, timeout_s=60, what="writes after the disk had space again")
        stop.set()
        for thread in threads:
            thread.join()
        judge(oracle, server)
        assert server.sql("SELECT count(*) FROM trades WHERE trade_id = 'refused'") == [[0]]
        server.kill()
        server.start()
        judge(oracle, server)
    finally:
        server.close()


def damage_garbage(path):
    with open(path, "r+b") as file:
        file.write(os.urandom(4096))


def damage_truncated(path):
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)


def damage_empty(path):
    open(path, "wb").close()


def damage_middle(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        file.write(os.urandom(65536))


@pytest.mark.parametrize("damage", [damage_garbage, damage_truncated, damage_empty, damage_middle])
@pytest.mark.parametrize("snapshots", ["1GiB", "1MiB"])
def test_unreadable_database_is_set_aside_and_rebuilt(damage, snapshots):
    oracle = Oracle(8)
    server = Server(*SETTINGS, "--set", f"storage.snapshot_wal_bytes={snapshots}")
    try:
        server.start()
        write_for(oracle, server, 600)
        server.stop()
        damage(os.path.join(server.data_dir, "eider.duckdb"))
        server.start()
        judge(oracle, server)
        assert glob.glob(os.path.join(server.data_dir, "quarantine", "*")), server.log()
        write_for(oracle, server, 50)
        server.kill()
        server.start()
        judge(oracle, server)
    finally:
        server.close()


def test_missing_database_is_rebuilt():
    oracle = Oracle(9)
    server = Server(*SETTINGS)
    try:
        server.start()
        write_for(oracle, server, 300)
        server.kill()
        for path in glob.glob(os.path.join(server.data_dir, "eider.duckdb*")):
            os.unlink(path)
        server.start()
        judge(oracle, server)
    finally:
        server.close()


def test_torn_tail_of_the_log_is_cut_off():
    oracle = Oracle(10)
    server = Server(*SETTINGS)
    try:
        server.start()
        write_for(oracle, server, 100)
        server.kill()
        # Garbage right behind the last record, as a write that the power cut in two leaves it.
        path, end = max((path, len(open(path, "rb").read().rstrip(b"\0"))) for path in glob.glob(
            os.path.join(server.data_dir, "wal", "*.wal")) if open(path, "rb").read(64).strip(b"\0"))
        with open(path, "r+b") as file:
            file.seek((end + 7) // 8 * 8)
            file.write(os.urandom(100))
        server.start()
        judge(oracle, server)
    finally:
        server.close()


def test_garbage_on_the_port_disturbs_nobody():
    oracle = Oracle(11)
    rng = random.Random(11)
    server = Server(*SETTINGS)
    try:
        server.start()
        stop, threads = oracle.run(server, 1)
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
                start = rng.choice([b"", b"GET ", b"POST /api/v1/ingest/trades HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01",
                                    b"GET /ws/metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"])
                try:
                    sock.sendall(start + rng.randbytes(rng.randrange(1, 2000)))
                    if rng.random() < 0.5:
                        sock.settimeout(0.05)
                        sock.recv(1000)
                except OSError:
                    pass
        stop.set()
        for thread in threads:
            thread.join()
        assert server.process.poll() is None, server.log()
        assert server.get("/health").status_code == 200
        judge(oracle, server)
    finally:
        server.close()


def test_leftovers_in_the_directory_do_no_harm():
    oracle = Oracle(12)
    server = Server(*SETTINGS)
    try:
        server.start()
        write_for(oracle, server, 50)
        server.stop()
        for name in ("wal/tmp", "backup/x.tmp", "eider.duckdb.tmp"):
            path = os.path.join(server.data_dir, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(b"leftover")
        server.start()
        judge(oracle, server)
    finally:
        server.close()
        shutil.rmtree(server.data_dir, ignore_errors=True)
