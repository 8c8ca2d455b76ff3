"""Client processes that spend credits through a server which dies under them, each with a journal of what it was promised.

A call is reserved, made at an upstream (upstream.py) and committed, in one of these ways:

    commit    every request is repeated with the same ids until it is answered
    once      nothing is repeated: what became of it is not known
    repeat    as commit, and reserve and commit are sent again after their answers: the same answers are due
    hold      the call is made and committed only after the server was killed and started again
    extend    more credits are added before a dearer call
    release   reserved, not made, given back; a commit after that must be refused
    forget    reserved with a short lease, never heard of again
    gateway   made through the gateway

A client never waits for another one; `generation` tells of a restart, `stop` ends all.
"""
import http.client
import json
import multiprocessing
import random
import select
import time

API = "Birdeye"
LEASE_MS = 24 * 3600 * 1000  # longer than any test: what was acknowledged must still be there
FORGET_MS = 1000
CALL, DEAR_CALL = 60, 120  # credits
WAYS = {"commit": 40, "once": 10, "repeat": 12, "hold": 4, "extend": 8, "release": 8, "forget": 6, "gateway": 12}
HOLD_S = 3  # behind the last kill there is no other to wait for
ANSWER_TIMEOUT_S = 60


class Gone(Exception):
    """The connection broke before an answer."""


class Stopped(Exception):
    """The end, while a request was being repeated."""


class Spender:
    def __init__(self, number, seed, port, upstream_port, generation, stop):
        self.number, self.port, self.upstream_port = number, port, upstream_port
        self.rng = random.Random(f"{seed}/{number}")
        self.generation, self.stop = generation, stop
        self.connections = {}
        self.run_number = 0
        self.journal = {"calls": [], "complaints": [], "refusals": {}, "errors": 0, "most": {}}

    # ---- requests ----

    def ask(self, port, method, path, body=None, headers=None):
        """One request; status, answer, header fields. Gone when the connection breaks."""
        connection = self.connections.get(port)
        try:
            if connection is None:
                connection = self.connections[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
            connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            self.connections.pop(port, None)
            connection.close()
            raise Gone(repr(problem)) from None
        return answer.status, json.loads(data), answer.headers

    def pause(self):
        select.select([], [], [], self.rng.uniform(0.01, 0.05))

    def post(self, action, body, again=True):
        """Asks until there is an answer that decides (neither a broken connection nor "not now")."""
        begin = time.monotonic()
        while True:
            try:
                status, answer, _ = self.ask(self.port, "POST", "/api/v1/spend/" + action, body)
                if status != 429 and (status != 503 or answer["code"] == "CIRCUIT_BREAKER_TRIPPED"):
                    return status, answer
            except Gone:
                self.journal["errors"] += 1
                if not again:
                    raise
            if time.monotonic() - begin > ANSWER_TIMEOUT_S:
                self.complain(f"no answer to {action} {body} for {ANSWER_TIMEOUT_S} s")
                raise Stopped
            self.pause()

    def complain(self, text):
        self.journal["complaints"].append(text)

    # ---- the steps of a call ----

    def note_budgets(self, answer):
        for budget in answer["budgets"]:
            spent = budget["used"] + budget["reserved"]
            most = self.journal["most"]
            most[budget["name"]] = max(most.get(budget["name"], 0), spent)
            if spent > budget["limit"]:
                self.complain(f"{spent} of {budget['limit']} credits are spent in {budget['name']} {budget['instance']}")

    def reserve(self, call, ttl_ms=LEASE_MS, again=True):
        """True when it was granted."""
        body = {"reservation_id": call["id"], "api_name": API, "endpoint": "/defi/price", "run_id": call["run"],
                "max_credits": CALL, "ttl_ms": ttl_ms}
        status, answer = self.post("reserve", body, again)
        if status == 503:
            reasons = self.journal["refusals"]
            reason = f"{answer['budget']} {answer['reason']}"
            reasons[reason] = reasons.get(reason, 0) + 1
            if answer["budget"] == "run":
                self.run_number += 1
            else:
                self.pause()
            return False
        if status == 412 and ttl_ms == FORGET_MS:
            return False  # granted unheard before the kill, and over since
        if status != 200:
            self.complain(f"reserve {call['id']}: {status} {answer}")
            return False
        self.note_budgets(answer)
        call["reserved"] = answer["credits"]
        return True

    def make(self, call, dear=False):
        path = f"/defi/v3/ohlcv?type=1m&time_from=0&time_to=300000&address={call['id']}" if dear else f"/defi/price?address={call['id']}"
        status, _, _ = self.ask(self.upstream_port, "GET", path)
        call["status"] = status
        call["credits"] = (DEAR_CALL if dear else CALL) if status == 200 else 0

    def commit_body(self, call):
        return {"reservation_id": call["id"], "event_id": "e-" + call["id"], "status_code": call["status"],
                "credits": call["credits"], "run_id": call["run"], "metadata": {"address": call["id"]}}

    def commit(self, call, again=True):
        body = self.commit_body(call)
        call["sent"] = body
        status, answer = self.post("commit", body, again)
        if status != 200 or answer["event_id"] != body["event_id"] or answer["credits"] != body["credits"]:
            self.complain(f"commit {body}: {status} {answer}")
            return
        call["committed"] = True

    # ---- the ways ----

    def way_commit(self, call):
        if self.reserve(call):
            self.make(call)
            self.commit(call)

    def way_once(self, call):
        call["sent_reserve"] = True
        if self.reserve(call, again=False):
            self.make(call)
            self.commit(call, again=False)

    def way_repeat(self, call):
        if not self.reserve(call):
            return
        self.reserve(call)
        self.make(call)
        self.commit(call)
        self.commit(call)
        status, answer = self.post("commit", {**self.commit_body(call), "credits": call["credits"] + 1})
        if status != 409:
            self.complain(f"another commit of {call['id']}: {status} {answer}")

    def way_hold(self, call):
        if not self.reserve(call):
            return
        before, begin = self.generation.value, time.monotonic()
        while self.generation.value == before and time.monotonic() - begin < HOLD_S and not self.stop.value:
            self.pause()
        self.make(call)
        self.commit(call)

    def way_extend(self, call):
        if not self.reserve(call):
            return
        dear = False
        try:
            # Sent once: it would add again.
            status, answer = self.post("extend", {"reservation_id": call["id"], "ttl_ms": LEASE_MS, "add_credits": CALL}, again=False)
            dear = status == 200
            if status not in (200, 503) or dear and answer["credits"] != 2 * CALL:
                self.complain(f"extend {call['id']}: {status} {answer}")
        except Gone:
            pass
        self.make(call, dear)
        self.commit(call)

    def way_release(self, call):
        if not self.reserve(call):
            return
        status, answer = self.post("release", {"reservation_id": call["id"]})
        if status != 200:
            self.complain(f"release {call['id']}: {status} {answer}")
        call.update(status=200, credits=CALL)
        status, answer = self.post("commit", self.commit_body(call))
        if status != 409:
            self.complain(f"commit of released {call['id']}: {status} {answer}")

    def way_forget(self, call):
        self.reserve(call, ttl_ms=FORGET_MS)

    def way_gateway(self, call):
        call["sent_gateway"] = True
        fields = {"X-Eider-Run-Id": call["run"]}
        status, answer, _ = self.ask(self.port, "GET", f"/gateway/birdeye/defi/price?address={call['id']}", headers=fields)
        if status == 503:
            self.run_number += answer.get("budget") == "run"
            self.pause()
            return
        if status not in (200, 500):
            self.complain(f"gateway {call['id']}: {status} {answer}")
        # The entry is durable when the connection goes on, not when the last announced byte is here.
        self.ask(self.port, "GET", "/health/live")
        call["committed_gateway"] = True

    def run(self):
        """Calls until `stop`; returns the journal."""
        number = 0
        while not self.stop.value:
            way, = self.rng.choices(list(WAYS), WAYS.values())
            call = {"id": f"c{self.number}-{number}", "way": way, "run": f"run-{self.number // 8}-{self.run_number}"}
            number += 1
            self.journal["calls"].append(call)
            try:
                getattr(self, "way_" + way)(call)
            except Gone:
                self.pause()
            except Stopped:
                break
        for connection in self.connections.values():
            connection.close()
        return self.journal


def _spend(sender, *args):
    sender.send(Spender(*args).run())
    sender.close()


class Spenders:
    """So many processes; start() to let them go, finish() for their journals."""

    def __init__(self, count, seed, port, upstream_port):
        context = multiprocessing.get_context("fork")
        self.generation, self.stop = context.Value("i", 0, lock=False), context.Value("b", 0, lock=False)
        self.receivers, self.processes = [], []
        for number in range(count):
            receiver, sender = context.Pipe(duplex=False)
            self.receivers.append(receiver)
            self.processes.append(context.Process(target=_spend, daemon=True, args=(
                sender, number, seed, port, upstream_port, self.generation, self.stop)))
            self.processes[-1].sender = sender

    def start(self):
        for process in self.processes:
            process.start()
            process.sender.close()

    def restarted(self):
        self.generation.value += 1

    def finish(self):
        self.stop.value = 1
        journals = []
        for number, receiver in enumerate(self.receivers):
            assert receiver.poll(2 * ANSWER_TIMEOUT_S), f"client {number} does not end"
            journals.append(receiver.recv())
        for process in self.processes:
            process.join()
        return journals

    def close(self):
        for process in self.processes:
            if process.is_alive():
                process.kill()
                process.join()
