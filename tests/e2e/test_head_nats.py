"""The head of the event log in a stream of a real nats-server: at the start and at the stop, through outages, with TLS."""
import datetime
import subprocess

import pytest

from eider import Server, run, wait_for
from nats import NatsServer

EVENTS = "/api/v1/events"
SUBJECT = "eider.eventlog.head"
WARNING = "the event log head is not published"


@pytest.fixture
def nats():
    with NatsServer(user="eider", password="tiger") as running:
        yield running


def options(url, **settings):
    given = {"url": url, "retry_interval": "100ms", **settings}
    return ["--set", "collect.system=false", *(arg for name, value in given.items()
                                               for arg in ("--set", f"meter.head_nats.{name}={value}"))]


def append(server, count=1):
    rows = [{"api_name": "a", "endpoint": "/e", "credits_cost": 1}] * count
    answer = server.post(EVENTS, json=rows)
    assert answer.status_code in (200, 201), answer.text
    head = server.get(EVENTS + "/head").json()
    return head["seq"], head["hash"]


def heads(nats, stream="HEADS"):
    return [(payload["seq"], payload["hash"]) for _, payload in nats.messages(stream)]


def test_the_head_is_in_the_stream_at_the_start_and_at_the_stop(nats):
    nats.add_stream("HEADS", "eider.>")
    with Server(*options(nats.url)) as server:
        assert server.stop() == 0
        assert heads(nats) == []  # there is no head yet
        server.start()
        begin = datetime.datetime.now(datetime.timezone.utc)
        first = append(server, 3)
        assert first[0] == 3
        assert server.stop() == 0
        assert heads(nats) == [first]
        server.start()
        wait_for(lambda: heads(nats) == [first, first], what="the head at the start")
        second = append(server)
        assert server.stop() == 0
        assert heads(nats) == [first, first, second]
        subject, payload = nats.messages("HEADS")[-1]
        assert (subject, sorted(payload)) == (SUBJECT, ["at", "hash", "seq"])
        at = datetime.datetime.fromisoformat(payload["at"].replace("Z", "+00:00"))
        assert begin < at < datetime.datetime.now(datetime.timezone.utc)
        assert "tiger" not in server.log() and f"nats://****@127.0.0.1:{nats.port} on subject {SUBJECT}" in server.log()
        assert WARNING not in server.log()


def test_a_subject_that_no_stream_covers_is_named_until_one_does(nats):
    with Server(*options(nats.url, subject="audit.heads")) as server:
        head = append(server)
        assert server.stop() == 0
        server.start()
        wait_for(lambda: server.log().count(WARNING) == 2, what="the warnings of the stop and of the start")
        assert "covers the subject audit.heads" in server.log()
        nats.add_stream("AUDIT", "audit.heads")
        wait_for(lambda: heads(nats, "AUDIT") == [head], what="the head")
        wait_for(lambda: "event log head: seq 1 published" in server.log(), what="the good news")
        assert server.log().count(WARNING) == 2


def test_outages_of_nats_leave_the_server_alone(nats):
    nats.add_stream("HEADS", SUBJECT)
    with Server(*options(nats.url)) as server:
        append(server)
        nats.stop()
        assert server.stop() == 0
        server.start()
        wait_for(lambda: server.log().count(WARNING) == 2, what="the warnings of the stop and of the start")
        assert f"127.0.0.1:{nats.port} cannot be reached" in server.log() and "tiger" not in server.log()
        assert append(server)[0] == 2
        assert server.get("/health").status_code == 200
        nats.start()
        wait_for(lambda: [seq for seq, _ in heads(nats)] == [1], what="the head of the start")
        # The connection that is there now is lost, and comes back by itself.
        nats.stop()
        nats.start()
        wait_for(lambda: "eider" in nats.client_names(), what="the connection")
        last = append(server)
        assert server.stop() == 0
        assert heads(nats)[1:] == [last] and last[0] == 3
        assert server.log().count(WARNING) == 2


def test_credentials_that_nats_refuses(nats):
    nats.add_stream("HEADS", SUBJECT)
    with Server(*options(nats.url.replace("tiger", "lion"))) as server:
        append(server)
        assert server.stop() == 0
        assert WARNING in server.log() and "refuses the credentials" in server.log() and "lion" not in server.log()
        assert heads(nats) == []


def test_tls_takes_a_certificate_it_can_check_only(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True, timeout=60)
    with NatsServer("--tls", "--tlscert", str(cert), "--tlskey", str(key)) as nats:
        for address, trusted, is_published in (("tls://localhost", cert, True), ("tls://localhost", None, False),
                                               ("tls://127.0.0.1", cert, False), ("nats://localhost", cert, True)):
            env = {"SSL_CERT_FILE": str(trusted)} if trusted else {}
            with Server(*options(f"{address}:{nats.port}"), env=env) as server:
                append(server)
                assert server.stop() == 0
                # Without a stream the answer of a server that is trusted is that there is none.
                assert ("covers the subject" in server.log()) == is_published, server.log()
                assert ("cannot be reached" in server.log()) != is_published, server.log()


def test_tls_is_not_done_without(nats):
    nats.add_stream("HEADS", SUBJECT)
    with Server(*options(nats.url.replace("nats:", "tls:"))) as server:
        append(server)
        assert server.stop() == 0
        assert "cannot be reached" in server.log() and heads(nats) == []


@pytest.mark.parametrize("settings, said", [
    ({"url": "http://eider:tiger@127.0.0.1"}, "meter.head_nats.url: server 1 has no scheme nats:// or tls://"),
    ({"url": "nats://eider:tiger@127.0.0.1:0"}, "meter.head_nats.url: server 1 has no host, or no port from 1 to 65535"),
    ({"url": "nats://eider:tiger@127.0.0.1", "subject": "a.*"}, 'meter.head_nats.subject: "a.*" is no subject'),
])
def test_settings_that_cannot_be_are_refused(settings, said, tmp_path):
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), *options(**settings))
    assert done.returncode == 2
    assert said in done.stderr and "tiger" not in done.stderr + done.stdout


def test_the_configuration_masks_the_address(tmp_path):
    done = run("config", "--json", env={"EIDER_METER_HEAD_NATS_URL": "nats://eider:tiger@127.0.0.1"}, cwd=tmp_path)
    assert done.returncode == 0 and '"meter.head_nats.url":{"value":"****"' in done.stdout.replace(": ", ":")
    assert "tiger" not in done.stdout
