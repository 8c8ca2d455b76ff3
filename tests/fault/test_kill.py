"""kill -9 at random moments under mixed load. EIDER_KILL_ROUNDS chooses how often (200), EIDER_SEED where to begin."""
import os
import random
import select

from eider import Server
from oracle import Oracle

ROUNDS = int(os.environ.get("EIDER_KILL_ROUNDS", "200"))
SEED = int(os.environ.get("EIDER_SEED", "1"))

# Small segments, frequent checkpoints and snapshots: so that kills hit those moments, too.
SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "storage.snapshot_wal_bytes=1MiB",
            "--set", "storage.checkpoint_interval=1s", "--set", "sql.rows_max=10000000", "--set", "sql.bytes_max=1GiB",
            "--log-level", "WARNING"]


def test_nothing_acknowledged_is_lost_or_doubled(capsys):
    rng = random.Random(SEED)
    oracle = Oracle(SEED)
    starts = []
    server = Server(*SETTINGS)
    try:
        for number in range(ROUNDS):
            if rng.random() < 0.1:  # killed while it starts
                server.start(wait=False)
                select.select([], [], [], rng.uniform(0.0, 0.15))
                server.kill()
            server.start(wait=False)
            starts.append(server.wait_ready())
            stop, threads = oracle.run(server, 1)
            select.select([], [], [], rng.uniform(0.02, 0.25))
            server.kill()
            stop.set()
            for thread in threads:
                thread.join()
            if number % 25 == 24 or number == ROUNDS - 1:
                server.start()
                bad = oracle.verdict(server.sql)
                assert not bad, f"seed {SEED}, round {number}: {bad}; {server.log()}"
                server.kill()
        assert oracle.acks > ROUNDS
    finally:
        server.close()
    with capsys.disabled():
        print(f"\n{ROUNDS} kills: {oracle.summary()}; start: mean {sum(starts) / len(starts):.2f} s, longest {max(starts):.2f} s")
