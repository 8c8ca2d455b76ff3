#!/usr/bin/env python3
"""Backups measured: MB/s beside cp of the same data directory, the second (incremental) one, restore in rows a second, and what
a backup does to the time of a durable write. EIDER_BIN names the program; ROWS how many (2 000 000)."""
import json
import os
import random
import subprocess
import sys
import threading
import time

import requests

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "lib"))
from backups import Place  # noqa: E402
from eider import run, wait_for  # noqa: E402

ROWS = int(os.environ.get("ROWS", "2000000"))
BATCH = 10000


def fill(server):
    rng = random.Random(1)
    for first in range(0, ROWS, BATCH):
        lines = "\n".join(f"cpu,host=h{n % 1000} value={rng.gauss(100, 5):.4f} {1_700_000_000_000_000 + n // 1000 * 100_000}"
                          for n in range(first, first + BATCH))
        answer = requests.post(server.url + "/write?precision=us", data=lines, timeout=60)
        assert answer.status_code in (200, 204), answer.text
    wait_for(lambda: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), timeout_s=300, what="applied")


def write_times(server, stop):
    """Milliseconds of one-row writes, one after the other, until `stop` is set."""
    session, taken, n = requests.Session(), [], 0
    while not stop.is_set():
        n += 1
        begin = time.perf_counter()
        answer = session.post(server.url + "/write?precision=us", data=f"probe value=1 {time.time_ns() // 1000}", timeout=60)
        taken.append((time.perf_counter() - begin) * 1000)
        assert answer.status_code in (200, 204)
    return sorted(taken)


def measured(server, action):
    stop, times = threading.Event(), []
    writer = threading.Thread(target=lambda: times.extend(write_times(server, stop)))
    writer.start()
    begin = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - begin
    stop.set()
    writer.join()
    return result, seconds, times[len(times) // 2], times[len(times) * 99 // 100], len(times)


def main():
    with Place() as place, place.server() as server:
        fill(server)
        _, _, p50, p99, count = measured(server, lambda: time.sleep(3))
        print(f"a durable write, nothing else:      p50 {p50:.2f} ms, p99 {p99:.2f} ms ({count})")
        backup, seconds, p50, p99, count = measured(server, lambda: place.backup(server))
        print(f"a durable write beside a backup:    p50 {p50:.2f} ms, p99 {p99:.2f} ms ({count})")
        print(f"backup: {backup['rows']} rows, {backup['bytes'] / 1e6:.1f} MB in {seconds:.2f} s: {backup['rows'] / seconds / 1e6:.2f} M rows/s, "
              f"{backup['bytes'] / 1e6 / seconds:.1f} MB/s of Parquet")
        again, seconds, *_ = measured(server, lambda: place.backup(server))
        print(f"the next one: {again['files_new']} of {again['files']} files new, {again['bytes_new'] / 1e6:.2f} MB, {seconds:.2f} s")
        server.stop()
        size = sum(os.path.getsize(os.path.join(place.data, name)) for name in os.listdir(place.data)
                   if name.startswith("eider.duckdb"))
        begin = time.perf_counter()
        subprocess.run(["cp", os.path.join(place.data, "eider.duckdb"), os.path.join(place.root, "copy")], check=True)
        subprocess.run(["sync", os.path.join(place.root, "copy")], check=True)
        seconds = time.perf_counter() - begin
        print(f"cp and sync of the stopped database: {size / 1e6:.1f} MB in {seconds:.2f} s: {size / 1e6 / seconds:.1f} MB/s")
        begin = time.perf_counter()
        done, _ = place.restore()
        assert done.returncode == 0, done.stderr
        seconds = time.perf_counter() - begin
        rows = sum(json.loads(done.stdout)["rows"].values())
        print(f"restore, verification included: {rows} rows in {seconds:.2f} s: {rows / seconds / 1e6:.2f} M rows/s")


if __name__ == "__main__":
    main()
