"""Slow queries hold up neither writes nor the end of the server; what is refused says how."""
import json
import threading

import requests

from eider import Server

SLOW = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = 7"


def ask_slowly(server, answers):
    try:
        answers.append(requests.post(server.url + "/api/v1/sql", json={"sql": SLOW}, timeout=600).status_code)
    except requests.RequestException:
        answers.append(None)


def test_slow_queries_hold_up_neither_writes_nor_the_end():
    answers = []
    with Server("--set", "storage.duckdb.query_timeout=1h") as server:
        threads = [threading.Thread(target=ask_slowly, args=(server, answers)) for _ in range(6)]
        for thread in threads:
            thread.start()
        # Queries take their threads one by one: /metrics, which waits behind them, must not be asked.
        rows = "\n".join(json.dumps({"metric_name": "m", "value": i, "timestamp": i + 1}) for i in range(5000))
        for _ in range(5):
            assert server.ingest("metrics", rows).status_code == 200
        assert not answers
        assert server.stop(timeout_s=60) == 0
        for thread in threads:
            thread.join()
        assert len(answers) == 6 and 200 not in answers
        server.start()
        assert server.sql("SELECT count(*) FROM samples WHERE value >= 0")[0][0] >= 5000


def test_collectors_are_asked_until_the_end():
    """A request for their status meets them while the server stops, but never after they are gone."""
    with Server() as server:
        stop = threading.Event()
        wrong = []

        def ask():
            session = requests.Session()
            while not stop.is_set():
                try:
                    if session.get(server.url + "/api/system/stats", timeout=20).status_code != 200:
                        wrong.append("status")
                except requests.RequestException:
                    session = requests.Session()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        slow = threading.Thread(target=ask_slowly, args=(server, []))
        slow.start()
        assert server.stop(timeout_s=60) == 0
        stop.set()
        for thread in threads + [slow]:
            thread.join()
        assert not wrong


def test_wrong_method_says_which_are_right():
    with Server() as server:
        answer = server.get("/api/v1/sql")
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "OPTIONS, POST"
        assert server.post("/health").headers["Allow"] == "OPTIONS, HEAD, GET"
        answer = server.get("/api%2Ftrades?limit=1", allow_redirects=False)
        assert answer.headers.get("Location") == "/api/trades/?limit=1"


def test_stream_refuses_pages_of_others_with_403():
    with Server() as server:
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Origin": "http://evil.example"}
        assert server.get("/ws/metrics", headers=upgrade).status_code == 403
        answer = server.get("/ws/metrics")
        assert answer.status_code == 426 and answer.headers["Upgrade"] == "websocket"
