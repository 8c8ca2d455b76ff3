"""A disk that is full or fails to sync, under spending: what is answered as failed left no trace and holds no credits, what is
answered as done stays, and all goes on by itself when the disk works again."""
import contextlib
import http.client
import json
import os
import random
import subprocess
import threading

import pytest

from eider import ROOT, Server, run, wait_for
from small_disk import Ballast
from test_disk import SETTINGS, disk  # noqa: F401

SPEND = "/api/v1/spend/"
CLIENTS = 8


class Caller(threading.Thread):
    """Reserves one credit a time; commits, releases and extends some; notes each answer. Sends nothing twice."""

    def __init__(self, server, number, stop):
        super().__init__()
        self.server, self.number, self.stop = server, number, stop
        self.rng = random.Random(number)
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.reserved = {}      # id: credits, of the open ones
        self.committed = set()
        self.released = set()
        self.never = set()      # refused reservations
        self.appended, self.not_appended = set(), set()
        self.failed = {}        # action: how often it was answered as failed
        self.strange = []

    def ask(self, action, path, body):
        self.connection.request("POST", path, json.dumps(body))
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status == 503 and answer.headers["Retry-After"] and json.loads(data)["code"] in ("EIDER_UNAVAILABLE", "EIDER_NO_SPACE"):
            self.failed[action] = self.failed.get(action, 0) + 1
        elif answer.status != 200:
            self.strange.append(f"{action} {body}: {answer.status} {data[:300]}")
        return answer.status == 200

    def step(self, number):
        reservation_id = f"d{self.number}-{number}"
        body = {"reservation_id": reservation_id, "api_name": "paid", "max_credits": 1, "ttl_ms": 600_000}
        if not self.ask("reserve", SPEND + "reserve", body):
            self.never.add(reservation_id)
            return
        self.reserved[reservation_id] = 1
        reservation_id = self.rng.choice(list(self.reserved))
        way = self.rng.choice(["commit", "release", "extend", "none"])
        body = {"reservation_id": reservation_id}
        if way == "commit" and self.ask(way, SPEND + way, {**body, "status_code": 200, "credits": 1, "event_id": "e" + reservation_id}):
            del self.reserved[reservation_id]
            self.committed.add(reservation_id)
        elif way == "release" and self.ask(way, SPEND + way, body):
            del self.reserved[reservation_id]
            self.released.add(reservation_id)
        elif way == "extend" and self.ask(way, SPEND + way, {**body, "ttl_ms": 600_000, "add_credits": 1}):
            self.reserved[reservation_id] += 1
        event = {"id": "a" + f"d{self.number}-{number}", "api_name": "paid", "endpoint": "/x", "status_code": 200, "credits_cost": 1}
        (self.appended if self.ask("append", "/api/v1/events", event) else self.not_appended).add(event["id"])

    def run(self):
        number = 0
        while not self.stop.is_set():
            self.step(number)
            number += 1
        self.connection.close()


class Ledger:
    """All callers together, against what the server says."""

    def __init__(self, callers):
        self.callers = callers

    def union(self, name):
        return set().union(*(getattr(caller, name) for caller in self.callers))

    def count(self, action):
        return sum(caller.failed.get(action, 0) for caller in self.callers)

    def check(self, server):
        strange = [text for caller in self.callers for text in caller.strange]
        assert not strange, f"{len(strange)} strange answers, e.g. {strange[:5]}; {server.log()}"
        reserved = {}
        for caller in self.callers:
            reserved.update(caller.reserved)
        logged = {"e" + one for one in self.union("committed")} | self.union("appended")
        rows = server.sql("SELECT id, count(*) FROM api_event_log GROUP BY id")
        assert {one: 1 for one in logged} == {event_id: count for event_id, count in rows}
        one, = server.get(SPEND + "budgets/default").json()["instances"]
        assert (one["used"], one["reserved"]) == (len(logged), sum(reserved.values()))
        open_ones = server.get(SPEND + "reservations", params={"limit": 10000}).json()["reservations"]
        assert {r["reservation_id"]: r["credits"] for r in open_ones} == reserved
        known = {row[0] for row in server.sql("SELECT DISTINCT reservation_id FROM reservation_changes")}
        assert not known & self.union("never")


@contextlib.contextmanager
def calling(server):
    stop = threading.Event()
    callers = [Caller(server, number, stop) for number in range(CLIENTS)]
    for caller in callers:
        caller.start()
    try:
        yield Ledger(callers)
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def steps(ledger):
    return sum(len(caller.committed) for caller in ledger.callers)


def trouble_and_recovery(server, begin, end, rounds):
    """Calls while the disk fails `rounds` times; then everything must be as it was answered, also after a kill."""
    with calling(server) as ledger:
        for _ in range(rounds):
            goal = steps(ledger) + 50
            wait_for(lambda: steps(ledger) >= goal, timeout_s=60, what="commits")
            failed = ledger.count("reserve")

            def fails():
                begin()  # again and again: what the server gives back of a full disk is filled, too
                return ledger.count("reserve") > failed + 20
            wait_for(fails, timeout_s=60, what="refused reservations")
            assert server.get("/health").status_code == 503
            end()
            wait_for(lambda: server.get("/health").status_code == 200, timeout_s=60, what="green health")
        goal = steps(ledger) + 50
        wait_for(lambda: steps(ledger) >= goal, timeout_s=60, what="commits after the trouble")
    wait_for(lambda: (health := server.get("/health").json())["applied_lsn"] == health["durable_lsn"], timeout_s=60, what="all applied")
    ledger.check(server)
    server.kill()
    server.start()
    ledger.check(server)
    again = sorted(ledger.union("never"))[0]
    answer = server.post(SPEND + "reserve", json={"reservation_id": again, "api_name": "paid", "max_credits": 1})
    assert answer.status_code == 200 and answer.json()["replayed"] is False, answer.text
    one = next(caller for caller in ledger.callers if caller.reserved)
    answer = server.post(SPEND + "commit", json={"reservation_id": sorted(one.reserved)[0], "status_code": 200, "credits": 1})
    assert answer.status_code == 200 and answer.json()["replayed"] is False, answer.text
    for event_id in sorted(ledger.union("not_appended"))[:1]:
        answer = server.post("/api/v1/events", json={"id": event_id, "api_name": "paid", "endpoint": "/x", "status_code": 200})
        assert (answer.json()["accepted"], answer.json()["duplicates"]) == (1, 0), answer.text
    assert server.stop() == 0
    done = run("eventlog", "verify", "--data-dir", server.data_dir)
    assert done.returncode == 0, done.stdout + done.stderr


def test_failing_sync_leaves_no_trace_of_what_was_refused(tmp_path):
    shim, trigger = tmp_path / "fail_sync.so", tmp_path / "fail"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, os.path.join(ROOT, "tests/fault/fail_sync.c"), "-ldl"],
                   check=True)
    server = Server(*SETTINGS, env={"LD_PRELOAD": str(shim), "EIDER_FAIL_SYNC": str(trigger)})
    try:
        server.start()
        trouble_and_recovery(server, trigger.touch, trigger.unlink, rounds=3)
    finally:
        server.close()


def test_a_failed_commit_gives_nothing_away(tmp_path):
    """One step after the other, so that each figure is known."""
    shim, trigger = tmp_path / "fail_sync.so", tmp_path / "fail"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, os.path.join(ROOT, "tests/fault/fail_sync.c"), "-ldl"],
                   check=True)
    with Server(*SETTINGS, "--set", "meter.circuit_breaker.threshold=100",
                env={"LD_PRELOAD": str(shim), "EIDER_FAIL_SYNC": str(trigger)}) as server:
        def figures():
            budget, = server.get(SPEND + "budgets/default").json()["instances"]
            return budget["used"], budget["reserved"]

        def post(action, **body):
            return server.post(SPEND + action, json=body)

        for name in ("a", "b"):
            assert post("reserve", reservation_id=name, api_name="paid", max_credits=30).status_code == 200
        before = server.get("/api/v1/events/head").json()
        event = {"id": "x", "api_name": "paid", "endpoint": "/x", "status_code": 200, "credits_cost": 7}
        trigger.touch()
        refused = [post("reserve", reservation_id="c", api_name="paid", max_credits=40),
                   post("commit", reservation_id="a", status_code=200, credits=20, event_id="ea"),
                   post("release", reservation_id="b"), post("extend", reservation_id="b", ttl_ms=60000, add_credits=5),
                   server.post("/api/v1/events", json=event),
                   server.session.put(server.url + SPEND + "budgets/default", json={"hard_limit": 5}, timeout=30)]
        for answer in refused:
            assert answer.status_code == 503 and answer.headers["Retry-After"], answer.text
            assert answer.json()["code"] == "EIDER_UNAVAILABLE", answer.text
        assert figures() == (0, 60)
        assert server.get("/api/v1/events/head").json()["seq"] == before["seq"] == 0
        trigger.unlink()
        wait_for(lambda: server.get("/health").status_code == 200, timeout_s=30, what="green health")
        assert figures() == (0, 60)
        sent_again = server.post("/api/v1/events", json=event).json()
        assert (sent_again["accepted"], sent_again["duplicates"]) == (1, 0)
        for _ in range(2):
            assert figures() == (7, 60)
            assert [r["reservation_id"] for r in server.get(SPEND + "reservations").json()["reservations"]] == ["a", "b"]
            assert server.get(SPEND + "budgets/default").json()["hard_limit"] == 100
            server.kill()
            server.start()
        assert post("reserve", reservation_id="c", api_name="paid", max_credits=34).json()["reason"] == "would_exceed"
        assert post("reserve", reservation_id="c", api_name="paid", max_credits=33).json()["replayed"] is False
        done = post("commit", reservation_id="a", status_code=200, credits=20, event_id="ea").json()
        assert (done["credits"], done["replayed"]) == (20, False)
        assert post("release", reservation_id="b").json()["replayed"] is False
        assert figures() == (27, 33)


def test_full_disk_leaves_no_trace_of_what_was_refused(disk):  # noqa: F811
    ballast = Ballast(disk)
    server = Server(*SETTINGS, data_dir=os.path.join(disk, "data"))
    try:
        server.start()
        trouble_and_recovery(server, ballast.fill, ballast.remove, rounds=2)
    finally:
        server.close()
