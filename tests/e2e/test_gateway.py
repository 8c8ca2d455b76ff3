"""The metering reverse proxy, with real clients (curl, requests, urllib, Node) and a real upstream."""
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
import requests

from eider import Server, wait_for
from upstream import Upstream

MIB = 1 << 20
LARGE = 100 * MIB
PIECE = b"".join(bytes([i]) * 4096 for i in range(256))  # 1 MiB
PRICE_CALL = "/defi/price?address=So1"


class Streams(http.server.BaseHTTPRequestHandler):
    """What Upstream does not do: bodies that do not fit memory, answers that wait."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *unused):
        pass

    def do_GET(self):
        size = int(self.path.rpartition("/")[2])
        self.send_response(200)
        if self.path.startswith("/chunked"):
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(size // MIB):
                if self.path.startswith("/chunked"):
                    self.wfile.write(b"%x\r\n" % MIB + PIECE + b"\r\n")
                else:
                    self.wfile.write(PIECE)
                self.server.sent += MIB
            if self.path.startswith("/chunked"):
                self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        digest, count = hashlib.sha256(), 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                data = self.rfile.read(size)
                digest.update(data)
                count += size
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers["Content-Length"])
            while left:
                data = self.rfile.read(min(left, MIB))
                digest.update(data)
                count += len(data)
                left -= len(data)
        body = json.dumps({"sha256": digest.hexdigest(), "bytes": count}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def streams():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streams)
    server.daemon_threads = True
    server.sent = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def upstream():
    with Upstream(keys=["k1"]) as running:
        yield running


@contextlib.contextmanager
def gateway(tmp_path, url, settings="", args=(), headers=""):
    """A server whose upstream `birdeye` is at `url`; settings are further lines of it."""
    config = tmp_path / "gateway.yaml"
    config.write_text(f"""
gateway:
  upstreams:
    birdeye:
      base_url: {url}
      api_name: Birdeye
      headers: {{X-API-KEY: "${{BIRDEYE_API_KEY}}"{headers}}}
""" + "".join(f"      {line}\n" for line in settings.splitlines()))
    with Server("--config", str(config), "--set", "collect.system=false", *args,
                env={"BIRDEYE_API_KEY": "k1"}) as server:
        yield server


def events(server, count):
    """The newest entries of the event log, once there are `count`."""
    def ask():
        found = server.get("/api/v1/events").json()["events"]
        return found if len(found) >= count else None
    found = wait_for(ask, what=f"{count} events")
    assert len(found) == count
    return found


def default_budget(server):
    budget, = server.get("/api/v1/spend/budgets").json()["budgets"]
    return budget["instances"][0]


def call(server, path=PRICE_CALL, **kwargs):
    return requests.get(server.url + "/gateway/birdeye" + path, timeout=30, **kwargs)


def rss_bytes(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        line, = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_gateway_meters_a_call(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as server:
        answer = call(server, headers={"X-Eider-Run-Id": "r7", "X-Eider-Project": "p", "X-Eider-Key": "main",
                                       "x-chain": "solana"})
        assert answer.status_code == 200 and answer.json()["success"] is True
        assert answer.headers["X-Eider-Credits"] == "60"
        event, = events(server, 1)
        assert (event["api_name"], event["endpoint"], event["method"]) == ("Birdeye", "/defi/price", "GET")
        assert (event["status_code"], event["success"], event["credits_cost"]) == (200, True, 60)
        assert (event["run_id"], event["project"], event["api_key"]) == ("r7", "p", "main")
        assert event["reservation_id"] == answer.headers["X-Eider-Reservation"]
        assert event["price_rule"].startswith("birdeye/other@")
        assert event["metadata_json"]["url"] == upstream.url + PRICE_CALL
        assert "k1" not in json.dumps(event)
        made, = upstream.calls()
        assert made["key"] == "k1"
        budget = default_budget(server)
        assert (budget["used"], budget["reserved"]) == (60, 0)
        assert upstream.stats()["credits"] == 60


def test_gateway_refuses_before_the_money_is_gone(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, args=("--set", "meter.circuit_breaker.threshold=150")) as server:
        answers = [call(server) for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 503, 503]
        assert answers[2].json()["code"] == "CIRCUIT_BREAKER_TRIPPED"
        assert int(answers[2].headers["Retry-After"]) > 0
        assert upstream.stats()["requests"] == 2


def test_gateway_lets_no_concurrent_calls_pass_the_budget(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, args=("--set", "meter.circuit_breaker.threshold=600")) as server:
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(call(server).status_code)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(statuses) == 40
        assert upstream.stats()["credits"] <= 600
        assert statuses.count(200) * 60 == upstream.stats()["credits"] == default_budget(server)["used"]


def test_gateway_serves_curl_urllib_and_node(tmp_path, upstream):
    node = shutil.which("node")
    assert node, "Node is needed for this test"
    script = """
        const base = process.argv[1];
        const get = await fetch(base + "/defi/price?address=So1");
        const post = await fetch(base + "/echo", {method: "POST", body: "héllo", headers: {"x-chain": "solana"}});
        console.log(JSON.stringify({status: get.status, credits: get.headers.get("x-eider-credits"),
                                    value: (await get.json()).success, echo: await post.json()}));
    """
    with gateway(tmp_path, upstream.url) as server:
        base = server.url + "/gateway/birdeye"
        curl = subprocess.run(["curl", "-sS", "-i", base + PRICE_CALL], capture_output=True, text=True, timeout=30)
        assert curl.returncode == 0 and curl.stdout.startswith("HTTP/1.1 200 OK\n")
        assert "\nX-Eider-Credits: 60\n" in curl.stdout
        put = subprocess.run(["curl", "-sS", "-X", "PUT", "-H", "Expect: 100-continue", "-d", "@-", base + "/echo?a=%20b"],
                             input="by curl", capture_output=True, text=True, timeout=30)
        assert json.loads(put.stdout)["body"] == "by curl" and json.loads(put.stdout)["method"] == "PUT"
        with urllib.request.urlopen(base + PRICE_CALL, timeout=30) as answer:
            assert answer.status == 200 and json.load(answer)["success"] is True
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(base + "/status/418", timeout=30)
        assert refused.value.code == 418
        done = subprocess.run([node, "--input-type=module", "-e", script, base], capture_output=True, text=True,
                              timeout=60, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["status"], said["credits"], said["value"]) == (200, "60", True)
        assert said["echo"]["body"] == "héllo"
        sent = said["echo"]["headers"]
        assert sent["x-chain"] == "solana" and sent["x-forwarded-for"] == "127.0.0.1"
        events(server, 6)


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_gateway_streams_100_mb_in_little_memory(tmp_path, streams, kind):
    with gateway(tmp_path, f"http://127.0.0.1:{streams.server_port}") as server:
        before = rss_bytes(server)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.request("POST", "/gateway/birdeye/in", body=(PIECE for _ in range(LARGE // MIB)),
                           headers={"Content-Length": str(LARGE)} if kind == "length" else {},
                           encode_chunked=kind == "chunked")
        up = connection.getresponse()
        digest = hashlib.sha256()
        for _ in range(LARGE // MIB):
            digest.update(PIECE)
        assert up.status == 200
        assert json.load(up) == {"sha256": digest.hexdigest(), "bytes": LARGE}
        down, count = hashlib.sha256(), 0
        with call(server, f"/{kind}/{LARGE}", stream=True) as answer:
            for piece in answer.iter_content(MIB):
                down.update(piece)
                count += len(piece)
        assert (count, down.hexdigest()) == (LARGE, digest.hexdigest())
        assert rss_bytes(server) - before < 24 * MIB
        second, first = events(server, 2)
        assert first["metadata_json"]["request_bytes"] == LARGE
        assert second["metadata_json"]["response_bytes"] == LARGE


def test_gateway_does_not_read_ahead_of_a_slow_client(tmp_path, streams):
    with gateway(tmp_path, f"http://127.0.0.1:{streams.server_port}") as server:
        with call(server, f"/length/{LARGE}", stream=True) as answer:
            assert answer.raw.read(1000)
            before = -1
            # What is under way in buffers of kernel and program comes to rest, far below the whole.
            def at_rest():
                nonlocal before
                last, before = before, streams.sent
                return last == before or None
            wait_for(at_rest, what="the upstream to be held back")
            assert streams.sent < LARGE / 2
        booked, = events(server, 1)
        assert booked["success"] is False and "client left" in booked["error_message"]


def test_gateway_books_the_reserved_when_the_client_leaves(tmp_path, upstream):
    upstream.faults(kind="timeout", hold_s=60)
    with gateway(tmp_path, upstream.url) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(f"GET /gateway/birdeye{PRICE_CALL} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            wait_for(lambda: upstream.stats()["requests"] == 1, what="the call at the upstream")
            assert default_budget(server)["reserved"] == 60
        event, = events(server, 1)
        assert (event["status_code"], event["success"], event["credits_cost"]) == (None, False, 60)
        assert default_budget(server)["reserved"] == 0


def test_gateway_tells_timeouts_and_broken_answers(tmp_path, upstream):
    upstream.faults(kind="timeout", hold_s=60)
    upstream.faults(kind="reset")
    upstream.faults(kind="garbage")
    upstream.faults(kind="truncate")
    with gateway(tmp_path, upstream.url, "timeout: 200ms") as server:
        late = call(server)
        assert (late.status_code, late.json()["code"]) == (504, "UPSTREAM_TIMEOUT")
        for _ in range(2):
            lost = call(server)
            assert (lost.status_code, lost.json()["code"]) == (502, "UPSTREAM_FAILED")
        with urllib.request.urlopen(server.url + "/gateway/birdeye" + PRICE_CALL, timeout=30) as half:
            assert half.status == 200
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                half.read()
        found = events(server, 4)
        assert [e["success"] for e in found] == [False] * 4
        assert [e["credits_cost"] for e in reversed(found)] == [0, 0, 0, 60]
        assert found[3]["error_message"] == "Request to Birdeye timed out" and found[3]["status_code"] is None


def test_gateway_tries_again_after_429(tmp_path, upstream):
    upstream.faults(status=429, count=2, retry_after=0)
    with gateway(tmp_path, upstream.url, "retries: 3\nretry_delay: 5ms") as server:
        assert call(server).status_code == 200
        event, = events(server, 1)
        assert event["metadata_json"]["attempts"] == 3 and event["credits_cost"] == 60
        assert upstream.stats()["requests"] == 3
        upstream.faults(status=429, retry_after=3600)
        refused = call(server)
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "3600"
        assert upstream.stats()["requests"] == 4


def test_gateway_leaves_a_failing_upstream_alone(tmp_path, upstream):
    upstream.faults(status=500, count=3)
    with gateway(tmp_path, upstream.url, "breaker: {pause_after: 3, pause: 1m}") as server:
        assert [call(server).status_code for _ in range(3)] == [500] * 3
        paused = call(server)
        assert (paused.status_code, paused.json()["code"]) == (503, "UPSTREAM_BREAKER_OPEN")
        assert 1 <= int(paused.headers["Retry-After"]) <= 60
        assert upstream.stats()["requests"] == 3
        metrics = server.get("/metrics").text.splitlines()
        assert 'eider_gateway_upstream_paused{upstream="birdeye"} 1' in metrics
        assert 'eider_gateway_upstream_failures{upstream="birdeye"} 3' in metrics
        assert "eider_gateway_attempts_total 3" in metrics
        assert "eider_gateway_breaker_refused_total 1" in metrics


def test_gateway_keeps_eiders_token_and_forwards_the_clients(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, args=("--set", "server.token=sesame-123")) as server:
        assert call(server, "/echo").status_code == 401
        assert requests.post(server.url + "/gateway/birdeye/echo", data=b"x" * 100000, timeout=30).status_code == 401
        assert upstream.stats()["requests"] == 0
        plain = call(server, "/echo", headers={"Authorization": "Bearer sesame-123"})
        assert plain.status_code == 200 and "sesame" not in plain.text
        by_query = call(server, "/echo?a=1&access_token=sesame-123&b=2")
        assert by_query.status_code == 200 and by_query.json()["query"] == {"a": "1", "b": "2"}
        assert "sesame" not in by_query.text
        both = call(server, "/echo", headers={"X-Eider-Token": "sesame-123", "Authorization": "Bearer theirs"})
        assert both.status_code == 200 and "sesame" not in both.text
        assert both.json()["headers"]["authorization"] == "Bearer theirs"


def test_gateway_is_closed_to_pages_of_other_sites(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as server:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
            assert call(server, headers=headers).status_code == 403
        assert upstream.stats()["requests"] == 0


def test_gateway_lists_what_is_configured(tmp_path, upstream, server):
    assert "none is configured" in server.get("/gateway/birdeye/x").json()["detail"]
    with gateway(tmp_path, upstream.url) as configured:
        missing = configured.get("/gateway/helius/x")
        assert missing.status_code == 404 and "configured: birdeye" in missing.json()["detail"]


def test_gateway_ends_a_running_call_at_the_stop(tmp_path, upstream):
    upstream.faults(kind="delay", delay_ms=500)
    with gateway(tmp_path, upstream.url) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/gateway/birdeye" + PRICE_CALL)
        wait_for(lambda: upstream.stats()["requests"] == 1, what="the call at the upstream")
        server.process.terminate()
        answer = connection.getresponse()
        assert answer.status == 200 and json.loads(answer.read())["success"] is True
        assert server.process.wait(30) == 0
        connection.close()
        server.start()
        event, = events(server, 1)
        assert (event["status_code"], event["credits_cost"]) == (200, 60)


def test_gateway_gives_back_what_a_crash_left_reserved(tmp_path, upstream):
    upstream.faults(kind="timeout", hold_s=60)
    with gateway(tmp_path, upstream.url, args=("--set", "gateway.lease=2s")) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/gateway/birdeye" + PRICE_CALL)
        wait_for(lambda: upstream.stats()["requests"] == 1, what="the call at the upstream")
        server.kill()
        connection.close()
        server.start()
        wait_for(lambda: default_budget(server)["reserved"] == 0 or None, what="the end of the lease")
        assert default_budget(server)["used"] == 0
        assert call(server).status_code == 200
