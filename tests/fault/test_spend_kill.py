"""Many processes spend through one server that is killed again and again: no limit is passed, nothing promised is lost, and
the event log says exactly what was billed. EIDER_SPEND_KILLS chooses how often (20), EIDER_SEED where to begin."""
import decimal
import multiprocessing
import os
import random
import select
import signal
import urllib.parse

import pytest

from eider import Server, run, wait_for
from spenders import API, CALL, WAYS, Spenders
from upstream import Upstream

KILLS = int(os.environ.get("EIDER_SPEND_KILLS", "20"))
SEED = int(os.environ.get("EIDER_SEED", "1"))
CLIENTS = 64
STEP = 200 * CALL       # what the limit over all rises by before each kill, so that it is reached again and again
RUN_LIMIT = 20 * CALL   # of each run; who reaches it goes on with another run
SPEND = "/api/v1/spend/"

# Small segments, frequent checkpoints and snapshots: so that kills hit those moments, too.
SETTINGS = ["--set", "collect.system=false", "--set", "wal.segment_bytes=1MiB", "--set", "storage.snapshot_wal_bytes=1MiB",
            "--set", "storage.checkpoint_interval=100ms", "--set", "sql.rows_max=10000000", "--set", "sql.bytes_max=1GiB",
            "--set", "gateway.lease=1s", "--log-level", "WARNING"]


def serve_upstream(pipe):
    """A process of its own, so that it does not share an interpreter with the test."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Upstream(calls_max=10**8) as up:
        up.faults(status=500, ratio=0.05, seed=SEED)
        pipe.send(up.port)
        pipe.recv()
        pipe.send([(call["query"]["address"], call["credits"]) for call in up.calls()])


class Judge:
    """What the clients were promised against what the log holds."""

    def __init__(self, journals, billed, entries):
        self.calls = [call for journal in journals for call in journal["calls"]]
        self.errors = sum(journal["errors"] for journal in journals)
        self.refusals = {}
        for journal in journals:
            for reason, count in journal["refusals"].items():
                self.refusals[reason] = self.refusals.get(reason, 0) + count
        self.most = max(journal["most"].get("all", 0) for journal in journals)
        self.billed = {}
        for address, credits in billed:
            assert address not in self.billed, f"{address} was called twice"
            self.billed[address] = credits
        self.entries = {}  # the call's id: (credits, run) of each entry
        for event_id, credits, run_id, metadata in entries:
            ours = event_id.startswith("e-")
            call_id = event_id[2:] if ours else urllib.parse.parse_qs(metadata["url"].partition("?")[2])["address"][0]
            self.entries.setdefault(call_id, []).append((decimal.Decimal(credits), run_id))

    def check(self):
        bad = []
        known = {call["id"]: call for call in self.calls}
        expected = {call["id"] for call in self.calls if call.get("committed") or call.get("committed_gateway")}
        # A gateway call that the kill cut off may or may not be booked; in the log it must be what was billed.
        unsure = {call["id"] for call in self.calls if call.get("sent_gateway")} - expected
        lost = expected - set(self.entries)
        made_up = set(self.entries) - expected - unsure
        doubled = {call_id for call_id, found in self.entries.items() if len(found) != 1}
        wrong = {call_id for call_id, found in self.entries.items() if call_id in known
                 and found[0] != (self.billed.get(call_id), known[call_id]["run"])}
        for name, ids in (("lost", lost), ("made up", made_up), ("doubled", doubled), ("wrong", wrong)):
            if ids:
                bad.append(f"{len(ids)} {name}, e.g. {[(i, known.get(i), self.entries.get(i), self.billed.get(i)) for i in sorted(ids)[:3]]}")
        return bad

    def committed_credits(self):
        """(what the log sums up to, what was billed for the calls in it)."""
        return (sum(credits for found in self.entries.values() for credits, _ in found),
                sum(self.billed[call_id] for call_id in self.entries))


def instances(server, name):
    answer = server.get(SPEND + "budgets/" + name)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    for one in body["instances"]:
        assert one["used"] + one["reserved"] <= body["hard_limit"], body
    return body["instances"]


def put_budget(server, name, **body):
    answer = server.session.put(f"{server.url}{SPEND}budgets/{name}", timeout=30, json={
        "window": "sliding", "window_minutes": 1440, "half_open_probes": 0, **body})
    assert answer.status_code == 200, answer.text


def pass_time(rng, low, high):
    select.select([], [], [], rng.uniform(low, high))


def kill_again_and_again(server, spenders, rng):
    """KILLS kills under load, each with a higher limit; returns the heads of the chain that were seen, and start times."""
    heads, starts, limit = [], [], 0
    for number in range(KILLS + 1):
        if number and rng.random() < 0.15:  # killed while it starts
            server.start(wait=False)
            pass_time(rng, 0.0, 0.15)
            server.kill()
        server.start(wait=False)
        starts.append(server.wait_ready())
        spenders.restarted()
        if limit:
            assert server.get(SPEND + "budgets/all").json()["hard_limit"] == limit
        limit += STEP
        put_budget(server, "all", scope={"api": API}, hard_limit=limit)
        instances(server, "run")
        head = server.get("/api/v1/events/head").json()
        heads.append(f"{head['seq']}:{head['hash']}")
        if number < KILLS:
            pass_time(rng, 0.05, 0.9)
            instances(server, "all")
            server.kill()

    def full():
        one, = instances(server, "all")
        asked = server.post(SPEND + "check", json={"api_name": API, "max_credits": CALL}).json()
        return one["used"] + one["reserved"] == limit and not asked["allowed"] and asked["budget"] == "all"
    wait_for(full, timeout_s=120, what="the limit")
    return heads, starts, limit


def settle(server, journals):
    """Makes certain what the clients that repeat nothing left open, and waits until all leases are over."""
    for journal in journals:
        for call in journal["calls"]:
            if "sent" in call and not call.get("committed"):
                answer = server.post(SPEND + "commit", json=call["sent"])
                assert answer.status_code == 200, (call, answer.text)
                call["committed"] = True
            elif call["way"] in ("once", "forget", "extend") and "sent" not in call:
                answer = server.post(SPEND + "release", json={"reservation_id": call["id"]})
                assert answer.status_code in (200, 404, 412), (call, answer.text)
    wait_for(lambda: server.get(SPEND + "reservations").json()["count"] == 0, timeout_s=30, what="the end of all leases")
    assert all(one["reserved"] == 0 for name in ("all", "run") for one in instances(server, name))


@pytest.fixture
def upstream():
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=serve_upstream, args=(there,), daemon=True)
    process.start()
    assert here.poll(30)
    yield here.recv(), here
    process.kill()
    process.join()


def check_log(server, judge):
    """The log, the sums of it and the budgets agree with what was billed."""
    bad = judge.check()
    assert not bad, f"seed {SEED}: {bad}; {server.log()}"
    logged, billed = judge.committed_credits()
    assert logged == billed > 0
    used, = instances(server, "all")
    assert used["used"] == logged
    by_run = {}
    for found in judge.entries.values():
        by_run[f"run_id={found[0][1]}"] = by_run.get(f"run_id={found[0][1]}", 0) + found[0][0]
    runs = {one["instance"]: one["used"] for one in instances(server, "run") if one["used"]}
    assert runs == {name: credits for name, credits in by_run.items() if credits}
    assert server.get("/api/v1/events/credits", params={"window_minutes": 1440}).json()["total_credits"] == logged


def log_entries(server):
    return server.sql("SELECT id, credits_cost::VARCHAR, run_id, metadata_json FROM api_event_log")


def test_spending_survives_kills(upstream, tmp_path, capsys):
    rng = random.Random(SEED)
    upstream_port, pipe = upstream
    config = tmp_path / "eider.yaml"
    config.write_text(f"gateway:\n  upstreams:\n    birdeye: {{base_url: 'http://127.0.0.1:{upstream_port}', api_name: {API}}}\n")
    server = Server("--config", str(config), *SETTINGS)
    spenders = Spenders(CLIENTS, SEED, server.port, upstream_port)
    try:
        server.start()
        put_budget(server, "run", scope={"run_id": "*"}, hard_limit=RUN_LIMIT)
        put_budget(server, "all", scope={"api": API}, hard_limit=0)
        server.kill()
        spenders.start()
        heads, starts, limit = kill_again_and_again(server, spenders, rng)
        journals = spenders.finish()
        complaints = [text for journal in journals for text in journal["complaints"]]
        assert not complaints, f"seed {SEED}: {len(complaints)} complaints, e.g. {complaints[:5]}; {server.log()}"
        settle(server, journals)
        pipe.send("calls")
        billed = pipe.recv()
        entries = log_entries(server)
        judge = Judge(journals, billed, entries)
        check_log(server, judge)
        assert judge.most > limit - 10 * CALL and judge.refusals["run would_exceed"]
        assert {call["way"] for call in judge.calls} == set(WAYS)
        server.kill()
        server.start()
        assert sorted(log_entries(server), key=str) == sorted(entries, key=str)
        check_log(server, judge)
        assert server.stop() == 0
        for head in (heads[-1], heads[len(heads) // 2]):
            done = run("eventlog", "verify", "--head", head, "--data-dir", server.data_dir, "--json", cwd=str(tmp_path))
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        spenders.close()
        server.close()
    with capsys.disabled():
        print(f"\n{KILLS} kills: {len(judge.calls)} calls, {len(entries)} entries, {judge.committed_credits()[0]} credits, "
              f"{judge.errors} broken requests, refusals {judge.refusals}; "
              f"start: mean {sum(starts) / len(starts):.2f} s, longest {max(starts):.2f} s")
