"""kill -9 while everything runs: two databases of one process, rows of the last days, sealing, merging, retention, backups
and optimizing without a pause, readers by every path. What anybody is told must be what was acknowledged, before a kill and
behind it. EIDER_EVERYTHING_KILLS chooses how often (3), EIDER_SEED where to begin; it is printed."""
import json
import os
import random
import select
import shutil
import tempfile
import threading
import time

import pytest

from eider import Server, run, wait_for
from ledger import DAY_US, DAYS, KINDS, PATHS, Client, Gone, Rows, Side, Writer, certain, check_history, compare

KILLS = int(os.environ.get("EIDER_EVERYTHING_KILLS", "3"))
SEED = int(os.environ.get("EIDER_SEED", "1"))
LIVES = 12    # of one directory; more kills are more directories
WRITERS = 3   # of each database
SETTINGS = ["--set", "wal.segment_bytes=1MiB", "--set", "storage.snapshot_wal_bytes=1MiB", "--set", "storage.checkpoint_interval=1s",
            "--set", "storage.cold.after=1s", "--set", "storage.cold.merge_files=2", "--set", "storage.duckdb.query_timeout=5s",
            "--set", "sql.rows_max=10000000", "--set", "sql.bytes_max=1GiB", "--set", "backup.keep=0", "--log-level", "WARNING",
            "--set", "retention=table=strategy_metrics max_age=2d"]
CACHES = ["0", "64KiB", "1MiB", "64MiB"]
DUTIES = {"seal": ["seal done", "retention done"], "optimize": ["optimize done"], "backup": ["backup done"]}
EVERYTHING = [*sum(DUTIES.values(), []), "histories compared", "samples by points"]  # that a database must have seen
PATIENCE_S = 120  # for what a working server does in a second, under sanitizers too
DUTIES_S = 1200   # for all of them, some thousand transactions: minutes under sanitizers on a busy machine


class World:
    """A server with two databases, what was written to them, and the threads of one life."""

    def __init__(self, seed, root):
        self.rng = random.Random(seed)
        self.seed = seed
        self.start_us = int(time.time() * 10**6)
        self.root = root
        self.data = os.path.join(root, "data")
        config = os.path.join(root, "eider.yaml")
        with open(config, "w") as file:
            json.dump({"collect": {"system": False}, "databases": {"eu": {}}}, file)
        self.settings = ["--config", config, "--set", f"backup.dir={root}/backups", "--set", f"backup.wal_archive={root}/archive", *SETTINGS]
        self.sides = [Side("", WRITERS), Side("eu", WRITERS)]
        self.server = Server(data_dir=self.data)
        self.stop, self.last, self.threads, self.writers = threading.Event(), False, [], []

    def where(self, side):
        """(data directory, backups, archive) of a side."""
        end = f".{side.name}" if side.name else ""
        data = os.path.join(self.data, "databases", side.name) if side.name else self.data
        return data, f"{self.root}/backups{end}", f"{self.root}/archive{end}"

    def start(self, wait=True):
        self.server.args = [*self.settings, "--set", f"storage.hot_cache_bytes={self.rng.choice(CACHES)}"]
        self.server.start(wait=False)
        if wait:
            self.server.wait_ready(PATIENCE_S)
            for side in self.sides:
                wait_for(lambda side=side: self.server.get(side.prefix + "/health/ready").status_code == 200, PATIENCE_S, side.name)

    def begin(self, last=False):
        """Load and maintenance, until `end`; in the last life whoever has done its duty rests, for those who have not."""
        self.stop, self.last = threading.Event(), last
        self.threads, self.writers = [], []
        for side in self.sides:
            for number in range(WRITERS):
                writer = Writer(side, number, self.server.port, self.rng.random(), self.start_us)
                self.writers.append(writer)
                self.threads.append(threading.Thread(target=writer.run, args=(self.stop,)))
            for name in ("seal", "optimize", "backup"):
                self.threads.append(threading.Thread(target=self.maintain, args=(side, name, self.rng.random())))
        for thread in self.threads:
            thread.start()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"a client hangs; {self.server.log()}"

    def acknowledged(self):
        return sum(side.counts.get("acknowledged", 0) for side in self.sides)

    def unseen(self):
        """What has not yet been done, and answered well, for a database."""
        return [(side.name, what) for side in self.sides for what in EVERYTHING if not side.counts.get(what)]

    def until_all_is_seen(self):
        try:
            wait_for(lambda: not self.unseen() or self.server.process.poll() is not None, DUTIES_S)
        except AssertionError:
            raise AssertionError(f"seed {self.seed}: not seen within {DUTIES_S} s: {self.unseen()}; {self.server.log()}") from None

    def run_until(self, more):
        """So many more acknowledged writes, however slow the machine; then a moment that nobody chooses."""
        goal = self.acknowledged() + more
        while (now := self.acknowledged()) < goal and self.server.process.poll() is None:
            wait_for(lambda now=now: self.acknowledged() > now or self.server.process.poll() is not None, PATIENCE_S, f"one of {more} writes acknowledged")
        select.select([], [], [], self.rng.uniform(0, 0.2))
        assert self.server.process.poll() is None, f"the server ended with {self.server.process.returncode}: {self.server.log()}"

    # ---- maintenance ----

    def maintain(self, side, name, seed):
        client, rng = Client(side, self.server.port), random.Random(seed)
        try:
            while not self.stop.is_set():
                if name == "seal":
                    left = [duty.split()[0] for duty in DUTIES[name] if self.last and not side.counts.get(duty)]
                    self.ask_seal(client, side, rng.choice(left or ["seal", "seal", "seal", "retention"]))
                else:
                    self.ask_work(client, side, name)
                if self.last and all(side.counts.get(duty) for duty in DUTIES[name]):
                    return
                select.select([], [], [], 0.01)  # what is refused is not asked for without a breath
        except Gone:
            pass
        except Exception as problem:
            side.complain(f"{name}: {problem!r}")
            raise
        finally:
            client.connection.close()

    def ask_seal(self, client, side, name):
        one_table = {"table": "trades"} if self.last and name == "seal" else {}  # all tables take a slow machine minutes
        status, data, _ = client.ask("POST", f"/api/v1/admin/{name}", **one_table)
        if status != 202:
            side.count(f"{name} refused")
            if status not in (429, 503):
                side.complain(f"{name}: {status} {data}")
            return
        while not self.stop.is_set():
            status, now, _ = client.ask("GET", "/api/v1/admin/cold")
            if status == 200 and now["done"] >= data["ticket"]:
                side.count(name)
                if now["outcome"] is None:
                    side.count(f"{name} done" if now["days_sealed"] + now["days_merged"] > 0 else f"{name} idle")
                else:
                    side.count(f"{name} failed")
                    side.count(f"{name}: {now['outcome']}"[:160])
                return
            select.select([], [], [], 0.01)

    def ask_work(self, client, side, name):
        status, before, _ = client.ask("POST", f"/api/v1/admin/{name}")
        if status != 202:
            side.complain(f"{name}: {status} {before}")
            return
        while not self.stop.is_set():
            status, now, _ = client.ask("GET", f"/api/v1/admin/{name}")
            if status == 200 and now["state"] == "idle" and now["runs"] > before["runs"]:
                side.count(name)
                if now["error"] is not None:
                    side.count(f"{name} failed")
                    side.count(f"{name}: {now['error']}"[:160])
                elif name == "optimize":
                    side.count(f"{name} done" if now["result"]["before"]["cold_files"] > 0 else f"{name} idle")
                else:
                    side.count(f"{name} done")
                    side.backups[now["result"]["id"]] = now["result"]["lsn"]
                return
            select.select([], [], [], 0.01)

    # ---- the judgement ----

    def judge(self, when):
        for side in self.sides:
            client = Client(side, self.server.port)
            def applied():
                status, health, _ = client.ask("GET", "/health")
                side.saw(health.get("applied_lsn", 0))
                return status == 200 and health["applied_lsn"] == health["durable_lsn"]
            wait_for(applied, PATIENCE_S, f"everything applied; {self.server.log()}")
            for kind in KINDS:
                self.judge_rows(client, side, kind)
            for number in range(WRITERS):
                self.judge_paths(client, side, number)
            self.judge_spending(client, side)
            client.connection.close()
        self.complain(when)

    def complain(self, when):
        bad = [text for side in self.sides for text in side.complaints]
        assert not bad, f"seed {self.seed}, {when}: {len(bad)} complaints, e.g. {bad[:6]}; {self.server.log()}"

    @staticmethod
    def sql(client, text):
        return wait_for(lambda: [rows for rows in [client.sql(text)] if rows is not None], PATIENCE_S, "an answer of the store")[0]

    def judge_rows(self, client, side, kind):
        """All rows by SQL; what was not certain is certain then."""
        found = [{} for _ in range(WRITERS)]
        rows = [Rows.pair(kind, row) for row in self.sql(client, Rows.SQL[kind])]
        for number in range(WRITERS):
            own = [(key, value) for symbol, key, value in rows if symbol == f"W{number}"]
            book = side.books[number][kind]
            bad = compare(book, kind, own, -DAY_US, 1 << 62)
            if bad:
                side.complain(f"{kind} of W{number}: {len(bad)}, e.g. {bad[:4]}")
            found[number] = dict(own)
            for key in book.keys():
                book.settle(key, found[number].get(key), side.lsn)
        if len(rows) != sum(len(own) for own in found):
            side.complain(f"{kind}: {len(rows)} rows, {sum(len(own) for own in found)} of the writers")

    def judge_paths(self, client, side, number):
        first = self.start_us // DAY_US * DAY_US - DAYS * DAY_US
        low, high = first, first + (DAYS + 1) * DAY_US
        for kind in KINDS:
            for name, path in PATHS[kind]:
                found = wait_for(lambda path=path: [rows for rows in [path(client, number, low, high)] if rows is not None], PATIENCE_S, name)[0]
                bad = compare(side.books[number][kind], kind, found, low, high)
                if bad:
                    side.complain(f"{kind} of W{number} by {name}: {len(bad)}, e.g. {bad[:4]}")
        side.memory[number]["etags"].clear()
        for interval in ("5m", "1h", "1d"):  # once from the store, once from memory
            for _ in range(2):
                check_history(client, number, side.books[number]["market_data"], low, high, interval)
        stats = client.get("/api/v1/events/stats", run_id=f"W{number}")
        events = certain(side.books[number]["events"])
        if stats and (stats["total_events"], round(stats["total_credits"] * 10**6)) != (len(events), sum(credits for _, credits in events.values())):
            side.complain(f"stats of W{number}: {stats}, {len(events)} events")

    def judge_spending(self, client, side):
        """Budgets hold what the entries and the open reservations come to; the chain's numbers have no holes."""
        [[entries, newest, distinct, credits]] = self.sql(client, "SELECT count(*), coalesce(max(seq), 0), count(DISTINCT seq), "
                                                          "coalesce(CAST(sum(credits_cost) * 1000000 AS BIGINT), 0) FROM api_event_log")
        if not entries == newest == distinct:
            side.complain(f"{entries} entries, {distinct} numbers up to {newest}")
        every = {key: one for mine in side.reservations for key, one in mine.items()}
        booked = {row[0]: row[1:] for row in self.sql(client, "SELECT id, count(*), max(CAST(credits_cost * 1000000 AS BIGINT)) FROM api_event_log "
                                                      "WHERE id LIKE 'cr%' GROUP BY id")}
        held = {one["reservation_id"] for one in client.get("/api/v1/spend/reservations", limit=10000)["reservations"]}
        for key, one in every.items():
            committed = booked.get("c" + key)
            if one["closed"] and one["closing"] == "commit" and committed != [1, one["credits"]] or committed and one["closing"] != "commit":
                side.complain(f"reservation {one}: booked {committed}")
            if (key in held) and (one["closed"] or committed) or one["reserved"] and not one["closing"] and key not in held:
                side.complain(f"reservation {one}: open {key in held}")
        budget = client.get("/api/v1/spend/budgets/all")
        if budget and budget["instances"]:
            [one] = budget["instances"]
            if (round(one["used"] * 10**6), round(one["reserved"] * 10**6)) != (credits, 1000 * len(held)):
                side.complain(f"budget: used {one['used']}, reserved {one['reserved']}; entries {credits} millionths, {len(held)} open")

    def define_budgets(self):
        for side in self.sides:
            answer = self.server.session.put(self.server.url + side.prefix + "/api/v1/spend/budgets/all", timeout=60, json={
                "scope": {"api": "paid"}, "window": "sliding", "window_minutes": 14 * 1440, "hard_limit": 1000000})
            assert answer.status_code == 200, answer.text

    # ---- the end ----

    def verify_stopped(self, whole=True):
        """With the server gone: the directories, the chain of entries, every backup."""
        for side in self.sides:
            data, backups, _ = self.where(side)
            if whole:
                done = run("check", "--data-dir", data)
                assert done.returncode == 0, f"seed {self.seed}: {done.stdout}{done.stderr}"
            done = run("eventlog", "verify", "--data-dir", data)
            assert done.returncode == 0, f"seed {self.seed}: {done.stdout}{done.stderr}"
            listed = json.loads(run("backup", "--list", "--to", backups, "--json").stdout)
            assert {entry["id"] for entry in listed} >= set(side.backups), f"seed {self.seed}: {listed}, {side.backups}"
            if listed:
                done = run("backup", "--verify", "--to", backups, "--json", timeout=600)
                assert done.returncode == 0, f"seed {self.seed}: {done.stdout}{done.stderr}"

    def restore(self, side):
        """A backup of each kind of moment: one at its own LSN, and the newest with the log up to the end."""
        data, backups, archive = self.where(side)
        chosen = self.rng.choice(sorted(side.backups))
        newest = max(side.backups)
        for number, (backup, lsn, options) in enumerate([(chosen, side.backups[chosen], ["--to-lsn", str(side.backups[chosen])]),
                                                         (newest, None, ["--wal", archive, "--wal", data])]):
            target = os.path.join(self.root, f"restored-{side.name}-{number}")
            done = run("restore", "--from", os.path.join(backups, backup), "--data-dir", target, *options)
            assert done.returncode == 0, f"seed {self.seed}: {done.stdout}{done.stderr}"
            with Server(*SETTINGS, "--set", "collect.system=false", data_dir=target) as server:
                wait_for(lambda server=server: (lambda h: h["applied_lsn"] == h["durable_lsn"])(server.get("/health").json()), PATIENCE_S)
                for kind in KINDS:
                    rows = [Rows.pair(kind, row) for row in server.sql(Rows.SQL[kind])]
                    for writer in range(WRITERS):
                        own = [(key, value) for symbol, key, value in rows if symbol == f"W{writer}"]
                        args = () if lsn is None else (lsn,)
                        bad = compare(side.books[writer][kind], kind, own, -DAY_US, 1 << 61, *args)
                        assert not bad, f"seed {self.seed}: backup {backup} restored {options}: {kind} of W{writer}: {len(bad)}, e.g. {bad[:4]}"
            shutil.rmtree(target)

    def close(self):
        self.stop.set()
        self.server.close()

    def summary(self):
        total = {}
        for side in self.sides:
            for what, count in side.counts.items():
                total[what] = total.get(what, 0) + count
        return ", ".join(f"{what} {count}" for what, count in sorted(total.items()))


@pytest.fixture
def root():
    path = tempfile.mkdtemp(prefix="eider-everything-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def live_and_die(world, more):
    """One life under load, killed at a random moment; now and then in its start, too."""
    if world.rng.random() < 0.15:
        world.start(wait=False)
        select.select([], [], [], world.rng.uniform(0.0, 0.3))
        world.server.kill()
    world.start()
    world.begin()
    world.run_until(more)
    world.server.kill()
    world.end()


def judged(world, when):
    world.start()
    world.judge(when)


def say(capsys, world, what):
    with capsys.disabled():
        print(f"\nseed {world.seed}, {what}: {world.summary()}")


@pytest.mark.parametrize("first", range(0, KILLS, LIVES))
def test_everyone_is_told_what_was_acknowledged(first, root, capsys):
    world = World(SEED + first, root)
    lives = min(LIVES, KILLS - first)
    try:
        world.start()
        world.define_budgets()
        for number in range(lives):
            world.server.kill()
            live_and_die(world, world.rng.choice([30, 150, 400]))
            judged(world, f"kill {number}")
        # The last life goes on until each database has seen everything, and ends in peace.
        world.begin(last=True)
        world.until_all_is_seen()
        world.run_until(20)
        world.end()
        world.judge("the last life")
        assert world.server.stop() == 0, world.server.log()
        world.verify_stopped()
        for side in world.sides:
            world.restore(side)
    finally:
        world.close()
        say(capsys, world, f"{lives} kills")


def damage_head(path, rng):
    with open(path, "r+b") as file:
        file.write(rng.randbytes(9000))


def damage_middle(path, rng):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        file.write(rng.randbytes(65536))


def damage_cut(path, rng):
    with open(path, "r+b") as file:
        file.truncate(int(os.path.getsize(path) * rng.random()))


def damage_remove(path, rng):
    del rng
    for name in (path, path + ".wal"):
        if os.path.exists(name):
            os.unlink(name)


DAMAGES = [damage_head, damage_middle, damage_cut, damage_remove]


@pytest.mark.parametrize("first", range(0, max(KILLS // 2, 1), LIVES))
def test_a_damaged_database_is_made_again_from_snapshot_log_and_cold_files(first, root, capsys):
    world = World(SEED + 1000 + first, root)
    lives = min(LIVES, max(KILLS // 2, 1) - first)
    try:
        world.start()
        world.define_budgets()
        for number in range(lives):
            world.server.kill()
            live_and_die(world, world.rng.choice([100, 400]))
            damage = world.rng.choice(DAMAGES)
            side = world.rng.choice(world.sides)
            damage(os.path.join(world.where(side)[0], "eider.duckdb"), world.rng)
            judged(world, f"kill {number}, {damage.__name__} of {side.name or 'default'}")
        assert world.server.stop() == 0, world.server.log()
        world.verify_stopped(whole=False)
    finally:
        world.close()
        say(capsys, world, f"{lives} damages")
