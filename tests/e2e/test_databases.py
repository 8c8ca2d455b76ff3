"""Several databases in one process: each with its own rows, keys, budgets, tokens, streams, limits and failures."""
import asyncio
import http.client
import json
import os
import re
import sys
import tempfile
import threading

import pytest
import requests
import websockets

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/lib")
from eider import Server, run, wait_for  # noqa: E402

TIME = "2026-01-02T03:04:05Z"


class Databases(Server):
    """A server with a configuration file; `databases` is what stands below that key."""

    def __init__(self, databases, *args, extra=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.config = self.data_dir.rstrip("/") + ".yaml"
        with open(self.config, "w") as file:
            json.dump({"collect": {"system": False}, "databases": databases, **(extra or {})}, file)
        self.args = ["--config", self.config, *self.args]
        self.names = list(databases)

    def wait_ready(self, timeout_s=15, names=None):
        super().wait_ready(timeout_s)
        for name in self.names if names is None else names:
            wait_for(lambda: self.at(name, "/health/ready").status_code == 200, timeout_s, name)

    def at(self, name, path, method="GET", **kwargs):
        return self.session.request(method, f"{self.url}/db/{name}{path}", timeout=60, **kwargs)

    def write(self, name, rows, table="metrics", **params):
        headers = {"Idempotency-Key": params.pop("key")} if "key" in params else {}
        if "token" in params:
            headers["Authorization"] = "Bearer " + params.pop("token")
        return self.at(name, f"/api/v1/ingest/{table}", "POST", json=rows, params=params, headers=headers)

    def ask(self, name, sql):
        def once():
            answer = self.at(name, "/api/v1/sql", "POST", json={"sql": sql})
            return [answer] if answer.status_code != 503 else None
        answer = wait_for(once, 20, "an answer")[0]
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]

    def close(self):
        super().close()
        os.unlink(self.config)


def metric(name, value, **labels):
    return {"metric_name": name, "value": value, "timestamp": TIME, "labels": labels}


def rows_of(server, name):
    return server.ask(name, "SELECT count(*) FROM samples")[0][0]


@pytest.fixture(scope="module")
def two():
    with Databases({"eu": {}, "us": {"meter": False}}) as server:
        yield server


def test_rows_and_series_are_each_database_s_own(two):
    assert two.write("eu", [metric("load", 1, host="a")], ack="applied").status_code == 200
    assert two.write("us", [metric("other", 2, host="b"), metric("load", 3, host="a")], ack="applied").status_code == 200
    eu = two.ask("eu", "SELECT series_id, metric_name FROM series")
    us = two.ask("us", "SELECT series_id, metric_name FROM series ORDER BY series_id")
    assert eu == [[1, "load"]]
    assert us == [[1, "other"], [2, "load"]]
    assert two.sql("SELECT count(*) FROM series") == [[0]]
    assert two.at("eu", "/api/v1/latest").json()["count"] == 1
    assert two.get("/api/v1/latest").json()["count"] == 0
    assert os.path.isdir(f"{two.data_dir}/databases/eu/wal")
    assert os.path.exists(f"{two.data_dir}/databases/us/eider.duckdb")


def test_an_idempotency_key_of_one_is_unknown_to_the_others(two):
    body = [metric("idem", 1)]
    assert two.write("eu", body, key="k").json()["accepted"] == 1
    assert two.write("eu", body, key="k").headers.get("Idempotent-Replayed") == "true"
    first = two.write("us", [metric("idem", 2)], key="k")
    assert first.status_code == 200 and "Idempotent-Replayed" not in first.headers


def test_prefix_header_and_parameter_choose(two):
    def databases(**kwargs):
        return two.session.post(two.url + kwargs.pop("path"), timeout=30, **kwargs)

    body = {"sql": "SELECT current_database()"}
    header = {"X-Eider-Database": "eu"}
    assert databases(path="/api/v1/sql", json=body, headers=header).status_code == 200
    assert databases(path="/db/eu/api/v1/sql", json=body, headers=header).status_code == 200
    clash = databases(path="/db/us/api/v1/sql", json=body, headers=header)
    assert clash.status_code == 400 and '"us"' in clash.json()["detail"] and '"eu"' in clash.json()["detail"]
    line = {"data": "chosen value=1 1767323045000000000"}
    assert databases(path="/write?db=eu&ack=applied", **line).status_code == 204
    assert databases(path="/write?db=us/autogen&ack=applied", **line).status_code == 204
    assert databases(path="/api/v2/write?bucket=us&org=x&ack=applied", **line).status_code == 204
    assert databases(path="/write?db=never_heard_of&ack=applied", **line).status_code == 204
    assert databases(path="/db/eu/write?db=us", **line).status_code == 400
    assert databases(path="/db/default/write?ack=applied", **line).status_code == 204
    count = "SELECT count(*) FROM samples JOIN series USING (series_id) WHERE metric_name LIKE 'chosen%'"
    assert two.ask("eu", count) == [[1]]
    assert two.ask("us", count) == [[2]]
    assert two.ask("default", count) == [[2]]


def test_an_unknown_name_is_404_and_names_the_nearest(two):
    for answer in (two.at("ue", "/health"), two.get("/health", headers={"X-Eider-Database": "ue"}),
                   two.write("ue", [metric("x", 1)])):
        assert answer.status_code == 404
        assert "did you mean" in answer.json()["detail"] and "default, eu, us" in answer.json()["detail"]
    encoded = http.client.HTTPConnection("127.0.0.1", two.port, timeout=20)
    encoded.request("GET", "/db/%65u/health")
    assert encoded.getresponse().status == 404
    encoded.close()
    assert two.get("/db//health").status_code == 404
    assert two.at("eu", "/nowhere").status_code == 404
    assert two.at("eu", "/api/v1/ingest/metrics").status_code == 405


def test_paths_without_end_lead_to_the_dashboard(two):
    answer = two.get("/db/eu?view=sql", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "/db/eu/?view=sql")
    page = two.get("/db/eu/", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "text/html" in page.headers["Content-Type"]
    assert two.get("/db/eu/api/trades", allow_redirects=False).headers["Location"] == "/db/eu/api/trades/"
    assert two.get("/db/eu/openapi.json").json()["servers"] == [{"url": "/db/eu"}]
    assert "servers" not in two.get("/openapi.json").json()


def test_budgets_and_the_event_log_are_each_database_s_own(two):
    budget = {"hard_limit": 10, "window_minutes": 60}
    made = two.at("eu", "/api/v1/spend/budgets/tight", "PUT", json=budget)
    assert made.status_code == 200, made.text
    call = {"api_name": "acme", "endpoint": "/x", "max_credits": 8}
    assert two.at("eu", "/api/v1/spend/reserve", "POST", json=call).status_code == 200
    assert two.at("eu", "/api/v1/spend/reserve", "POST", json=call).status_code == 503
    assert two.post("/api/v1/spend/reserve", json=call).status_code == 200
    assert two.get("/api/v1/spend/budgets/tight").status_code == 404
    off = two.at("us", "/api/v1/spend/reserve", "POST", json=call)
    assert off.status_code == 503 and "meter.enabled" in off.json()["detail"]


def test_live_streams_carry_their_own_database(two):
    row = {"timestamp": TIME, "last_price": 5, "volume": 1, "trades": 1, "bid": 4, "ask": 6}

    symbols = {"eu": "S-EUR", "us": "S-USD", "default": "S-OWN"}

    async def check_frames(name, socket):
        """Ten frames behind the first with the database's own symbol: none has another's."""
        behind = 0
        for _ in range(300):
            text = await asyncio.wait_for(socket.recv(), 20)
            assert not any(symbol in text for other, symbol in symbols.items() if other != name), (name, text[:200])
            behind += behind > 0 or symbols[name] in text
            if behind == 10:
                return
        raise AssertionError(f"no frames with {symbols[name]}")

    async def talk():
        base = two.url.replace("http", "ws")
        async with websockets.connect(base + "/db/eu/ws/metrics") as eu, \
                websockets.connect(base + "/db/us/ws/metrics") as us, websockets.connect(base + "/ws/metrics") as own:
            for name, symbol in symbols.items():
                assert two.write(name, [{**row, "symbol": symbol}], "market_data").status_code == 200
            await asyncio.gather(check_frames("eu", eu), check_frames("us", us), check_frames("default", own))
            assert two.at("eu", "/health/live").json()["websocket_connections"] == 1

    asyncio.run(talk())


def test_the_list_tells_state_size_rate_and_limits(two):
    listed = two.get("/api/v1/databases").json()
    assert [d["name"] for d in listed["databases"]] == ["default", "eu", "us"] and listed["count"] == 3
    eu = listed["databases"][1]
    assert eu["state"] == "serving" and eu["path"] == "/db/eu" and eu["rows"] > 0 and eu["wal_bytes"] > 0
    assert eu["limits"]["disk_bytes_max"] is None and eu["limits"]["readers"] == 4
    assert two.get("/health").json()["databases"] == {"eu": {"status": "healthy"}, "us": {"status": "healthy"}}


def samples(text):
    """{family: [lines]}; fails when a family's samples do not stand together."""
    families, current, seen = {}, None, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in seen, current
            seen.add(current)
            families[current] = []
        elif not line.startswith("#"):
            assert line.startswith(current), (current, line)
            families[current].append(line)
    return families


def test_metrics_of_all_have_a_label_but_for_the_default_one_s(two):
    two.write("eu", [metric("counted", 1)])
    families = samples(two.get("/metrics").text)
    durable = families["eider_wal_durable_lsn"]
    assert re.fullmatch(r"eider_wal_durable_lsn \d+", durable[0])
    assert [line.split("}")[0] for line in durable[1:]] == [
        'eider_wal_durable_lsn{database="eu"', 'eider_wal_durable_lsn{database="us"']
    rows = families["eider_ingest_rows_total"]
    assert any(line.startswith('eider_ingest_rows_total{database="eu",table="') for line in rows)
    assert len(families["eider_build_info"]) == 1 and len(families["eider_process_open_fds"]) == 1
    assert families["eider_database_up"] == ['eider_database_up{database="default"} 1',
                                             'eider_database_up{database="eu"} 1',
                                             'eider_database_up{database="us"} 1']
    alone = samples(two.at("eu", "/metrics").text)
    assert all("database=" not in line for line in alone["eider_wal_durable_lsn"])
    assert "eider_database_up" not in alone


def test_tokens_of_one_database_open_no_other():
    with Databases({"eu": {"tokens": [{"name": "eu-writer", "token": "eu-secret-1", "scopes": ["ingest", "read"]}]},
                    "us": {}}, "--token", "process-secret") as server:
        headers = {"Authorization": "Bearer eu-secret-1"}
        main = {"Authorization": "Bearer process-secret"}
        assert server.write("eu", [metric("a", 1)]).status_code == 401
        assert server.write("eu", [metric("a", 1)], token="eu-secret-1").status_code == 200
        assert server.write("us", [metric("a", 1)], token="eu-secret-1").status_code == 401
        assert server.write("eu", [metric("a", 1)], token="process-secret").status_code == 200
        assert server.get("/api/metrics/current", headers=headers).status_code == 401
        listed = server.at("eu", "/api/v1/databases", headers=headers).json()["databases"]
        assert [d["name"] for d in listed] == ["eu"]
        listed = server.get("/api/v1/databases", headers=main).json()["databases"]
        assert [d["name"] for d in listed] == ["default", "eu", "us"]
        for known, answer in ((False, server.at("eux", "/health")), (False, server.at("eux", "/health", headers=headers)),
                              (True, server.at("eux", "/health", headers=main))):
            assert answer.status_code == 404
            assert ("default" in answer.json()["detail"]) is known
        assert "databases" not in server.get("/health").json()
        assert server.get("/health").json()["databases_unhealthy"] == 0
        assert set(server.get("/health", headers=main).json()["databases"]) == {"eu", "us"}


def test_one_that_cannot_be_opened_keeps_nobody_from_serving():
    with tempfile.TemporaryDirectory() as place:
        broken = place + "/broken"
        with open(broken, "w") as file:
            file.write("no directory")
        server = Databases({"bad": {"data_dir": broken}, "good": {}})
        server.start(wait=False)
        try:
            server.wait_ready(names=["good"])
            assert server.write("good", [metric("a", 1)]).status_code == 200
            assert server.ingest("metrics", [metric("a", 1)]).status_code == 200
            wait_for(lambda: "being opened" not in server.at("bad", "/health").text, what="the reason")
            answer = server.at("bad", "/health")
            assert answer.status_code == 503
            assert "bad" in answer.json()["detail"] and broken in answer.json()["detail"]
            assert answer.headers["Retry-After"]
            assert server.write("bad", [metric("a", 1)]).status_code == 503
            health = server.get("/health")
            assert health.status_code == 200
            assert health.json()["databases"]["bad"]["status"] == "unhealthy"
            assert health.json()["databases"]["good"] == {"status": "healthy"}
            assert 'eider_database_up{database="bad"} 0' in server.get("/metrics").text
            os.unlink(broken)
            server.wait_ready(names=["bad"])
            assert server.write("bad", [metric("a", 1)], ack="applied").status_code == 200
            assert rows_of(server, "bad") == 1
            assert server.get("/health").json()["databases_unhealthy"] == 0
            assert server.stop() == 0
        finally:
            server.close()


def test_the_default_one_that_cannot_be_opened_keeps_nobody_from_serving():
    with tempfile.TemporaryDirectory() as place:
        broken = place + "/broken"
        with open(broken, "w") as file:
            file.write("no directory")
        server = Databases({"good": {"data_dir": place + "/good"}}, "--data-dir", broken)
        server.start(wait=False)
        try:
            ready = lambda: server.at("good", "/health/ready").status_code == 200  # noqa: E731
            wait_for(lambda: reached(ready), what="the other database")
            assert server.write("good", [metric("a", 1)], ack="applied").status_code == 200
            assert rows_of(server, "good") == 1
            wait_for(lambda: "being opened" not in server.get("/health").text, what="the reason")
            for answer in (server.get("/health"), server.get("/health/ready"), server.get("/metrics"), server.get("/"),
                           server.at("default", "/health"), server.ingest("metrics", [metric("a", 1)])):
                assert answer.status_code == 503, answer.text
                assert broken in answer.json()["detail"] and answer.headers["Retry-After"]
            assert [(d["name"], d["state"]) for d in server.at("good", "/api/v1/databases").json()["databases"]] == [
                ("default", "unavailable"), ("good", "serving")]
            assert server.at("never", "/health").status_code == 404
            os.unlink(broken)
            Server.wait_ready(server)
            assert server.ingest("metrics", [metric("a", 1)], ack="applied").status_code == 200
            assert rows_of(server, "default") == 1
            assert server.stop() == 0
        finally:
            server.close()


def reached(ask):
    try:
        return ask()
    except requests.RequestException:
        return False


def test_the_command_line_works_with_one_database():
    server = Databases({"eu": {}, "us": {}})
    base = ["--config", server.config]
    try:
        server.start()
        assert server.write("eu", [metric("a", 1)], ack="applied").status_code == 200
        count = "SELECT count(*) AS n FROM samples"
        for where in (["--data-dir", server.data_dir], ["--url", server.url], ["--data-dir", server.data_dir + "/databases/eu"]):
            name = [] if where[1].endswith("eu") else ["--database", "eu"]
            done = run("sql", *base, *where, *name, "--json", count)
            assert done.returncode == 0 and json.loads(done.stdout)[0]["n"] == 1, done.stderr
        other = run("sql", *base, "--url", server.url, "--database", "us", "--json", count)
        assert json.loads(other.stdout)[0]["n"] == 0
        assert server.stop() == 0
        offline = run("sql", *base, "--data-dir", server.data_dir, "--database", "eu", "--json", count)
        assert offline.returncode == 0 and json.loads(offline.stdout)[0]["n"] == 1, offline.stderr
        wrong = run("sql", *base, "--data-dir", server.data_dir, "--database", "ue", count)
        assert wrong.returncode == 2 and "did you mean" in wrong.stderr
        assert run("check", *base, "--data-dir", server.data_dir, "--database", "eu").returncode == 0
        assert run("sql", *base, "--database", "No Name", count).returncode == 2
        shown = run("config", *base)
        assert "databases.eu.data_dir" in shown.stdout and shown.returncode == 0
        assert json.loads(run("config", *base, "--json").stdout)["databases"]["eu"]["data_dir"]["value"].endswith("/databases/eu")
    finally:
        server.close()


def test_over_its_space_a_database_refuses_and_the_others_take():
    small = {"storage": {"snapshot_wal_bytes": "1MiB"}, "wal": {"segment_bytes": "1MiB"}, "limits": {"disk_bytes_max": "4MiB"}}
    with Databases({"small": small, "large": {}}) as server:
        text = "x" * 1000
        taken = 0

        def over():
            nonlocal taken
            rows = [metric("fill", i, text=f"{text}{taken}{i}") for i in range(200)]
            answer = server.write("small", rows)
            if answer.status_code == 200:
                taken += answer.json()["accepted"]
                return None
            return [answer]

        refused = wait_for(over, 60, "the limit")[0]
        assert refused.status_code == 503 and "limits.disk_bytes_max" in refused.json()["detail"]
        assert refused.json()["code"] == "EIDER_NO_SPACE"
        assert server.write("large", [metric("a", 1)]).status_code == 200
        assert server.ingest("metrics", [metric("a", 1)]).status_code == 200
        wait_for(lambda: rows_of(server, "small") == taken, what="all that was acknowledged")
        assert server.get("/api/v1/databases").json()["databases"][1]["limits"]["disk_bytes_max"] == 4 << 20


def test_rows_a_second_and_series_are_limited_for_one_alone():
    limits = {"limits": {"rows_per_second": 100, "series_max": 5}}
    with Databases({"slow": limits, "fast": {}}) as server:
        rows = [metric("a", i) for i in range(1000)]
        assert server.write("slow", rows).status_code == 200
        refused = server.write("slow", [metric("a", 1)])
        assert refused.status_code == 429 and "limits.rows_per_second is 100" in refused.json()["detail"]
        assert int(refused.headers["Retry-After"]) > 1
        assert server.write("fast", rows).status_code == 200
        assert server.write("fast", [metric("a", i, host=str(i)) for i in range(20)]).status_code == 200
    with Databases({"few": {"limits": {"series_max": 5}}, "many": {}}) as server:
        rows = [metric("a", i, host=str(i)) for i in range(20)]
        assert server.write("few", rows).status_code >= 400
        assert server.write("many", rows).status_code == 200


def test_kill_with_load_on_three_leaves_each_complete():
    server = Databases({"a": {}, "b": {}})
    names = ["default", "a", "b"]
    acknowledged = {name: set() for name in names}
    try:
        server.start()
        enough = threading.Event()

        def load(name):
            session = requests.Session()
            for i in range(100000):
                row = {"trade_id": f"{name}-{i}", "timestamp": TIME, "symbol": "X", "side": "buy", "price": 1, "quantity": 1}
                try:
                    answer = session.post(f"{server.url}/db/{name}/api/v1/ingest/trades", json=[row], timeout=20)
                except requests.RequestException:
                    return
                if answer.status_code != 200:
                    return
                acknowledged[name].add(f"{name}-{i}")
                if all(len(done) > 100 for done in acknowledged.values()):
                    enough.set()

        threads = [threading.Thread(target=load, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        for name in names:
            found = {row[0] for row in server.ask(name, "SELECT trade_id FROM trades")}
            assert acknowledged[name] <= found, name
            assert all(trade.startswith(name + "-") for trade in found), name
    finally:
        server.close()
