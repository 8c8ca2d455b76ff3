"""Queries whose clients have left: they are ended, and what waits behind them is not begun."""
import json
import re
import socket
import sys
import threading

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/lib")
from eider import Server, wait_for  # noqa: E402

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range = 7"
TIMEOUT = "600s"


def ask_and_stay(server, sql):
    """Sends a query and returns the connection; nobody reads the answer."""
    body = json.dumps({"sql": sql}).encode()
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(b"POST /api/v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return sock


def gauge(server, name):
    found = re.search(rf"^eider_{name}(?:{{[^}}]*}})? (\S+)$", server.get("/metrics").text, re.M)
    return float(found.group(1))


def test_readers_are_free_again_when_the_clients_have_left():
    with Server("--set", "storage.duckdb.readers=4", "--set",
                f"storage.duckdb.query_timeout={TIMEOUT}") as server:
        clients = [ask_and_stay(server, LONG) for _ in range(4)]
        wait_for(lambda: gauge(server, "store_readers_busy") == 4, what="four busy readers")
        waiting = [ask_and_stay(server, LONG) for _ in range(3)]
        wait_for(lambda: gauge(server, "jobs_queued") == 3, what="three jobs behind them")
        for client in clients + waiting:
            client.close()
        wait_for(lambda: gauge(server, "store_readers_busy") == 0, what="free readers")
        wait_for(lambda: gauge(server, "jobs_queued") == 0, what="no jobs that wait")
        assert server.sql("SELECT 1") == [[1]]
        assert server.get("/health").status_code == 200
        assert gauge(server, "store_rebuilds_total") == 0


def test_one_that_leaves_takes_no_other_query_along():
    with Server("--set", f"storage.duckdb.query_timeout={TIMEOUT}") as server:
        answers = []
        some = "SELECT count(*) FROM range(20000) a, range(20000) b WHERE a.range * b.range = 7"
        stays = threading.Thread(target=lambda: answers.append(server.sql(some)))
        stays.start()
        leaves = ask_and_stay(server, LONG)
        wait_for(lambda: gauge(server, "store_readers_busy") >= 1, what="a busy reader")
        leaves.close()
        stays.join(120)
        assert answers == [[[2]]]
        wait_for(lambda: gauge(server, "store_readers_busy") == 0, what="free readers")


def test_history_and_the_event_log_are_given_up_too():
    """Not only SQL: the reads behind the other routes carry the same token."""
    with Server("--set", "storage.duckdb.readers=1", "--set",
                f"storage.duckdb.query_timeout={TIMEOUT}") as server:
        holder = ask_and_stay(server, LONG)
        wait_for(lambda: gauge(server, "store_readers_busy") == 1, what="the busy reader")
        socks = []
        for path in ("/api/trades/", "/api/v1/candles/BTC", "/api/system/performance"):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            socks.append(sock)
        wait_for(lambda: gauge(server, "jobs_running") >= 4, what="jobs that wait for the reader")
        for sock in socks:
            sock.close()
        # The reader is still taken, so they end because they were given up. /metrics is a job, too.
        wait_for(lambda: gauge(server, "jobs_running") == 2, what="the end of those who left")
        assert gauge(server, "store_readers_busy") == 1
        holder.close()
        wait_for(lambda: gauge(server, "store_readers_busy") == 0, what="a free reader")
