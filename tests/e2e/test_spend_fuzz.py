"""Garbage to everything metering listens on: a clear answer of the 4xx kind each time, and a server that lives and has changed
nothing. EIDER_FUZZ_ROUNDS (300) and EIDER_SEED (1) choose how much of which garbage."""
import gzip
import http.client
import json
import os
import random
import socket

import pytest

from eider import Server

ROUNDS = int(os.environ.get("EIDER_FUZZ_ROUNDS", "300"))
SEED = int(os.environ.get("EIDER_SEED", "1"))
SPEND = "/api/v1/spend/"
CALL = {"api_name": "test", "endpoint": "/x", "method": "GET", "key": "k", "run_id": "r", "project": "p", "max_credits": 1,
        "ttl_ms": 60000, "reservation_id": "f-1", "params": {"a": 1, "b": "c"}, "query": "a=1"}
BUDGET = {"scope": {"run_id": "*"}, "window": "sliding", "window_minutes": 60, "hard_limit": 5, "soft_limit": 1, "mode": "enforce",
          "half_open_probes": 1, "half_open_pause_ms": 1000, "description": "d"}
EVENT = {"id": "f-e", "api_name": "test", "endpoint": "/x", "method": "GET", "status_code": 200, "latency_ms": 1.5, "success": True,
         "credits_cost": "0.000001", "run_id": "r", "key": "k", "project": "p", "metadata": {"a": [1, {"b": None}]},
         "timestamp": "2026-01-01T00:00:00Z", "error_message": "no"}
COMMIT = {"reservation_id": "f-1", "status_code": 200, "success": True, "latency_ms": 1.5, "credits": 1, "error_message": "no",
          "metadata": {"a": 1}, "params": {"a": 1}, "event_id": "f-c", "overrun": False, "api_name": "test", "key": "k"}
QUOTE = {**CALL, "api_name": "Birdeye", "endpoint": "/defi/price"}
# What each takes, whole.
WRITES = [("POST", SPEND + "reserve", CALL), ("POST", SPEND + "check", CALL), ("POST", SPEND + "quote", QUOTE),
          ("POST", SPEND + "extend", {"reservation_id": "f-1", "ttl_ms": 1000, "add_credits": 1}),
          ("POST", SPEND + "commit", COMMIT), ("POST", SPEND + "release", {"reservation_id": "f-2"}),
          ("PUT", SPEND + "budgets/fuzz", BUDGET), ("POST", SPEND + "budgets/default/enforce", {"reason": "x"}),
          ("POST", SPEND + "simulate", {**BUDGET, "from": "2026-01-01", "to": "2026-01-02"}), ("POST", "/api/v1/events", EVENT)]
READS = [SPEND + "prices", SPEND + "budgets", SPEND + "budgets/default", SPEND + "breaker", SPEND + "forecast", SPEND + "reservations",
         "/api/v1/events", "/api/v1/events/f-e", "/api/v1/events/stats", "/api/v1/events/credits", "/api/v1/events/head"]
PARAMETERS = ["limit", "cursor", "order", "from", "to", "status", "success", "group_by", "since", "window_minutes", "id", "api_name",
              "endpoint", "method", "run_id", "key", "project", "nothing"]
MIB = 1 << 20


def ask(server, method, path, body=None, **headers):
    """Status and answer of one request on a connection of its own; a request that is cut off is fine when it was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            connection.putheader(name, value)
        try:
            connection.endheaders(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_clear(status, data):
    """A refusal says what is wrong, by whom it is to be found in the logs, and under which name programs know it."""
    if not 400 <= status < 500:
        return False
    body = json.loads(data)
    return bool(body["detail"]) and body["code"].startswith("EIDER_") and bool(body["request_id"])


def unchanged(server):
    """Nothing was reserved, booked or defined, and the server still does its work."""
    assert server.process.poll() is None, server.log()
    assert server.get("/health").status_code == 200
    assert server.get(SPEND + "reservations").json()["count"] == 0
    assert server.get("/api/v1/events/head").json()["seq"] == 0
    budgets = server.get(SPEND + "budgets").json()["budgets"]
    assert [(b["name"], b["hard_limit"], b["mode"]) for b in budgets] == [("default", 1000000, "enforce")]
    assert all(i["used"] == i["reserved"] == 0 for b in budgets for i in b["instances"])
    assert server.post(SPEND + "check", json={"api_name": "test", "max_credits": 1}).json()["allowed"] is True


def test_whole_requests_are_granted(server):
    """Else the damage done to them below would prove nothing."""
    assert server.post(SPEND + "reserve", json={**CALL, "reservation_id": "f-2"}).status_code == 200
    for method, path, whole in WRITES:
        status, data = ask(server, method, path, json.dumps(whole).encode())
        assert status == 200, f"{method} {path}: {status} {data[:300]}"


def deep(opening, closing, count):
    return (opening * count + closing * count).encode()


HUGE = {
    "nesting of arrays": deep("[", "]", 100_000),
    "nesting of objects": deep('{"a":', "}", 100_000)[:-1],
    "nesting within a field": b'{"api_name": "test", "params": ' + deep('{"a":', "", 50_000) + b"1" + b"}" * 50_000 + b"}",
    "nesting within metadata": b'{"reservation_id": "f", "metadata": ' + deep("[", "]", 100_000) + b"}",
    "a long number": b'{"api_name": "test", "reservation_id": "f", "hard_limit": ' + b"1" * MIB + b"}",
    "a long exponent": b'{"reservation_id": 1e' + b"9" * MIB + b"}",
    "a long text": b'{"api_name": "' + b"x" * (12 * MIB) + b'"}',
    "a long name": b'{"' + b"x" * MIB + b'": 1}',
    "many fields": json.dumps({f"f{n}": n for n in range(200_000)}).encode(),
    "many times one field": b"{" + b",".join([b'"api_name": "test"'] * 100_000) + b"}",
    "an endless escape": b'{"api_name": "' + b"\\u0041" * MIB,
    "spaces": b" " * (2 * MIB),
}


@pytest.mark.parametrize("what", HUGE)
def test_huge_bodies_are_refused(server, what):
    for method, path, _ in WRITES:
        status, data = ask(server, method, path, HUGE[what])
        assert is_clear(status, data), f"{method} {path}: {status} {data[:300]}"
    unchanged(server)


def test_random_bytes_are_refused(server):
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        method, path, _ = WRITES[number % len(WRITES)]
        body = rng.choice([b"", b"{", b"[", b'{"api_name": ', b'{"reservation_id": "']) + b"\xff" + rng.randbytes(rng.randrange(0, 3000))
        for data in (body, gzip.compress(body)[:rng.randrange(1, 60)]):
            headers = {} if data is body else {"Content_Encoding": "gzip"}
            status, answer = ask(server, method, path, data, **headers)
            assert is_clear(status, answer), f"{method} {path} {data[:200]}: {status} {answer[:300]}"
    unchanged(server)


WRONG = [None, True, 17, -1, 1.5, 1e308, "", "x" * 2000, "\u0000", "\ud800", [], [[]], {}, {"a": {"b": []}}, "2026-99-99", -0.0000001]


def test_each_field_with_each_wrong_type(server):
    """Whatever is in a field: no answer but a granted request, a budget's refusal, or a clear complaint."""
    assert server.post(SPEND + "reserve", json=CALL).status_code == 200
    for method, path, whole in WRITES:
        for field in whole:
            for value in WRONG:
                body = json.dumps({**whole, field: value}).encode()
                status, data = ask(server, method, path, body)
                answer = json.loads(data)
                fine = status == 200 or status == 503 and answer["code"] == "CIRCUIT_BREAKER_TRIPPED"
                assert fine or is_clear(status, data), f"{method} {path} {field} = {value!r}: {status} {data[:300]}"
    assert server.process.poll() is None and server.get("/health").status_code == 200


def damaged(rng, text):
    """A body with a few bytes changed, cut out, doubled or swapped for something that JSON knows."""
    data = bytearray(text)
    for _ in range(rng.randrange(1, 4)):
        at, length = rng.randrange(len(data) + 1), rng.randrange(1, 12)
        way = rng.randrange(5)
        if way == 0:
            data[at:at + 1] = rng.randbytes(1)
        elif way == 1:
            del data[at:at + length]
        elif way == 2:
            data[at:at] = data[at:at + length]
        elif way == 3:
            data[at:at] = rng.choice([b"null", b"{", b"}", b"[", b"]", b",", b'"', b"\\u0000", b"\\ud800", b"-", b"1e999", b"\n", b"NaN"])
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


def test_damaged_requests_are_answered(server):
    rng = random.Random(SEED)
    for number in range(2 * ROUNDS):
        method, path, whole = WRITES[number % len(WRITES)]
        body = damaged(rng, json.dumps(whole).encode())
        status, data = ask(server, method, path, body)
        answer = json.loads(data)
        fine = status == 200 or status == 503 and answer["code"] == "CIRCUIT_BREAKER_TRIPPED"
        assert fine or is_clear(status, data), f"{method} {path} {body}: {status} {data[:300]}"
    assert server.process.poll() is None and server.get("/health").status_code == 200


def test_ten_megabytes_of_query_are_refused(server):
    answered = 0
    for path in [path for _, path, _ in WRITES] + READS + ["/gateway/birdeye/defi/price"]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            try:
                sock.sendall(b"GET " + path.encode() + b"?cursor=" + b"a" * (10 * MIB) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            try:
                answer = sock.recv(65536)
            except ConnectionResetError:
                continue  # hung up on while it was still talking
        assert answer.split()[1] in (b"414", b"431"), answer[:200]
        answered += 1
    assert answered
    unchanged(server)


def test_garbage_in_queries_is_refused_or_matches_nothing(server):
    rng = random.Random(SEED)
    for _ in range(ROUNDS):
        text = "".join(f"%{byte:02x}" if rng.random() < 0.7 else rng.choice("a1-*'\";,:{}[]") for byte in rng.randbytes(rng.randrange(1, 200)))
        path = f"{rng.choice(READS)}?{rng.choice(PARAMETERS)}={text}&{rng.choice(PARAMETERS)}={rng.choice(['-1', '0', '1e9', '99999999999999999999', '%'])}"
        status, data = ask(server, "GET", path)
        assert status == 200 or is_clear(status, data), f"{path}: {status} {data[:300]}"
    for name in ("%00", "..%2f..%2fetc", "x" * 5000, "%ff%fe", "'; DROP TABLE api_event_log; --".replace(" ", "%20"), "*"):
        for method, path in (("GET", SPEND + "budgets/"), ("PUT", SPEND + "budgets/"), ("DELETE", SPEND + "budgets/"), ("GET", "/api/v1/events/")):
            status, data = ask(server, method, path + name, b'{"hard_limit": 5}' if method == "PUT" else None)
            assert is_clear(status, data), f"{method} {path}{name}: {status} {data[:300]}"
    unchanged(server)


def test_garbage_at_the_gateway_never_reaches_the_upstream(tmp_path):
    rng = random.Random(SEED)
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.setblocking(False)
        config = tmp_path / "eider.yaml"
        config.write_text(f"gateway:\n  upstreams:\n    birdeye: {{base_url: 'http://127.0.0.1:{upstream.getsockname()[1]}'}}\n")
        with Server("--config", str(config), "--set", "collect.system=false") as server:
            for _ in range(ROUNDS // 3):
                path = "/gateway/" + rng.choice(["birdeyes/x", "birdeye/../x", "birdeye/%2e%2e/x", "", "%00/x", "birdeye/a%00b/../../c/.."])
                field = rng.choice([b"X-Eider-Max-Credits: " + rng.choice([b"-1", b"NaN", b"1e99", b"x" * 3000]),
                                    b"X-Eider-Run-Id: " + b"r" * 2000, b"Content-Length: -5", b"Transfer-Encoding: odd", b"\x00: 1"])
                if rng.random() < 0.5:
                    path = "/gateway/birdeye/x"
                else:
                    field = b"X-Chain: solana"
                with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
                    sock.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + field + b"\r\n\r\n")
                    answer = sock.recv(65536)
                assert answer.split()[1].startswith(b"4") or field.endswith(b"odd") and b"501" in answer, (path, field, answer[:300])
            with pytest.raises(BlockingIOError):
                upstream.accept()
            unchanged(server)
