"""kill -9 at random moments under mixed load. EIDER_KILL_ROUNDS chooses how often (200), EIDER_SEED where to begin."""
import concurrent.futures
import os
import random
import select

from eider import Server
from oracle import Oracle

ROUNDS = int(os.environ.get("EIDER_KILL_ROUNDS", "200"))
SEED = int(os.environ.get("EIDER_SEED", "1"))

# Small segments, frequent checkpoints and snapshots: so that kills hit those moments, too.
SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "storage.snapshot_wal_bytes=1MiB",
            "--set", "storage.checkpoint_interval=100ms", "--set", "sql.rows_max=10000000", "--set", "sql.bytes_max=1GiB",
            "--log-level", "WARNING"]
AT_ONCE = 2  # directories, each with its share of the rounds


def live_and_die(server, oracle, rng):
    """One life under load, now and then behind one that ends in its start; returns how long the start took."""
    if rng.random() < 0.1:
        server.start(wait=False)
        select.select([], [], [], rng.uniform(0.0, 0.15))
        server.kill()
    server.start(wait=False)
    took = server.wait_ready()
    stop, threads = oracle.run(server, 1)
    select.select([], [], [], rng.uniform(0.02, 0.25))
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    return took


def kill_again_and_again(seed, rounds):
    """Rounds of one directory; returns the oracle and the times of the starts."""
    rng, oracle, starts = random.Random(seed), Oracle(seed), []
    server = Server(*SETTINGS)
    try:
        for number in range(rounds):
            starts.append(live_and_die(server, oracle, rng))
            if number % 25 == 24 or number == rounds - 1:
                server.start()
                bad = oracle.verdict(server.sql)
                assert not bad, f"seed {seed}, round {number}: {bad}; {server.log()}"
                server.kill()
        assert oracle.acks > rounds
    finally:
        server.close()
    return oracle, starts


def test_nothing_acknowledged_is_lost_or_doubled(capsys):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(kill_again_and_again, range(SEED, SEED + AT_ONCE), [-(-ROUNDS // AT_ONCE)] * AT_ONCE))
    with capsys.disabled():
        for oracle, starts in done:
            print(f"\n{len(starts)} kills: {oracle.summary()}; start: mean {sum(starts) / len(starts):.2f} s, longest {max(starts):.2f} s")
