"""Metrics of the meter: the original's, name for name, under the namespace quantbot; our own; a port for them alone."""
import re
import subprocess

import pytest
import requests

from eider import Server, free_port

SPEND = "/api/v1/spend/"


def call(server, api="birdeye", endpoint="/defi/price", status=200, credits=60, latency_ms=700, error=None):
    one = server.post(SPEND + "reserve", json={"api_name": api, "endpoint": endpoint, "max_credits": credits}).json()
    done = server.post(SPEND + "commit", json={"reservation_id": one["reservation_id"], "status_code": status, "latency_ms": latency_ms,
                                               "credits": credits, "error_message": error})
    assert done.status_code == 200, done.text


def promtool(text):
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check.stdout + check.stderr


def sample(text, name):
    found = re.findall(r"^%s (\S+)$" % re.escape(name), text, re.M)
    assert len(found) == 1, f"{name}: {found}"
    return float(found[0])


@pytest.mark.parametrize("namespace", ["quantbot", "eider"])
def test_the_originals_names_labels_and_buckets(namespace):
    with Server("--set", "collect.system=false", "--set", f"metrics.namespace={namespace}") as server:
        call(server)
        call(server, latency_ms=100)
        call(server, endpoint="/defi/v3/ohlcv", status=429, credits=0, error="Rate limit exceeded for Birdeye")
        answer = server.session.put(server.url + SPEND + "budgets/bird", json={"scope": {"api": "birdeye"}, "hard_limit": 100,
                                                                               "window_minutes": 30}, timeout=30)
        assert answer.status_code == 200, answer.text
        page = server.get("/metrics").text
        promtool(page)
        n = namespace
        assert sample(page, f'{n}_api_calls_total{{api_name="birdeye",endpoint="/defi/price",status="success"}}') == 2
        assert sample(page, f'{n}_api_calls_total{{api_name="birdeye",endpoint="/defi/v3/ohlcv",status="error"}}') == 1
        assert sample(page, f'{n}_api_errors_total{{api_name="birdeye",endpoint="/defi/v3/ohlcv",error_type="http_429"}}') == 1
        assert sample(page, f'{n}_api_credits_total{{api_name="birdeye"}}') == 120
        labels = 'api_name="birdeye",endpoint="/defi/price"'
        buckets = re.findall(r'^%s_api_latency_seconds_bucket\{le="([^"]+)",%s\} (\d+)$' % (n, re.escape(labels)), page, re.M)
        assert [le for le, _ in buckets] == ["0.1", "0.5", "1", "2", "5", "10", "30", "60", "+Inf"]
        assert [int(count) for _, count in buckets] == [1, 1, 2, 2, 2, 2, 2, 2, 2]
        assert sample(page, f"{n}_api_latency_seconds_sum{{{labels}}}") == pytest.approx(0.8)
        assert sample(page, f"{n}_api_latency_seconds_count{{{labels}}}") == 2
        assert sample(page, f'{n}_circuit_breaker_tripped{{api_name="all"}}') == 0
        assert sample(page, f'{n}_circuit_breaker_tripped{{api_name="birdeye"}}') == 1
        assert sample(page, f'{n}_credits_spent_window{{api_name="all",window_minutes="60"}}') == 120
        assert sample(page, f'{n}_credits_spent_window{{api_name="birdeye",window_minutes="30"}}') == 120
        for help_text in ("api_calls_total Total number of API calls", "api_errors_total Total number of API call errors",
                          "api_credits_total Total credits spent on API calls", "api_latency_seconds API call latency in seconds",
                          "circuit_breaker_tripped Circuit breaker status (1 = tripped, 0 = normal)",
                          "credits_spent_window Credits spent in the last time window"):
            assert f"# HELP {n}_{help_text}\n" in page
        for name in ("process_cpu_user_seconds_total", "process_cpu_system_seconds_total", "process_cpu_seconds_total",
                     "process_start_time_seconds", "process_resident_memory_bytes", "process_virtual_memory_bytes",
                     "process_heap_bytes", "process_open_fds", "process_max_fds"):
            assert sample(page, f"{n}_{name}") >= 0


def test_budgets_and_the_meters_own_figures(server):
    server.session.put(server.url + SPEND + "budgets/runs", json={"scope": {"run_id": "*", "api": "*"}, "hard_limit": 100}, timeout=30)
    call(server)
    one = server.post(SPEND + "reserve", json={"api_name": "x", "run_id": 'r"1\\', "max_credits": 30}).json()
    server.post(SPEND + "reserve", json={"api_name": "x", "run_id": 'r"1\\', "max_credits": 80})
    row = {"id": "a", "api_name": "x", "endpoint": "/", "credits_cost": 1}
    server.post("/api/v1/events", json=row)
    server.post("/api/v1/events", json=row)
    page = server.get("/metrics").text
    promtool(page)
    assert sample(page, 'eider_budget_breaker_state{budget="default"}') == 0
    assert sample(page, 'eider_budget_used_credits{budget="default"}') == 61
    assert sample(page, 'eider_budget_reserved_credits{budget="default"}') == 30
    assert sample(page, 'eider_budget_limit_credits{budget="default"}') == 1000000
    assert sample(page, 'eider_budget_exhausted_seconds{budget="default"}') > 0
    assert re.search(r'^eider_budget_reserved_credits\{budget="runs",instance="[^\n]*r\\"1\\\\[^\n]*"\} 30$', page, re.M)
    assert sample(page, 'eider_budget_refused_calls_total{budget="runs",reason="would_exceed"}') == 1
    assert sample(page, 'eider_circuit_breaker_tripped{api_name="x"}') == 0
    assert sample(page, "eider_meter_reserves_total") == 2 and sample(page, "eider_meter_refused_total") == 1
    assert sample(page, "eider_meter_commits_total") == 1 and sample(page, "eider_meter_reservations_open") == 1
    assert sample(page, "eider_meter_reserved_credits") == 30 and sample(page, "eider_meter_duplicates_total") == 1
    assert sample(page, "eider_meter_pending_bytes") >= 0 and sample(page, "eider_event_log_seq") == 2
    assert sample(page, "eider_meter_expired_total") == 0 and sample(page, "eider_meter_overruns_total") == 0
    assert server.post(SPEND + "release", json={"reservation_id": one["reservation_id"]}).status_code == 200
    assert sample(server.get("/metrics").text, "eider_meter_reservations_open") == 0


def test_metrics_have_a_port_of_their_own_when_asked_for():
    port = free_port()
    with Server("--set", "collect.system=false", env={"PROMETHEUS_PORT": str(port)}) as server:
        url = f"http://127.0.0.1:{port}"
        page = requests.get(url + "/metrics", timeout=10)
        assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        promtool(page.text)
        assert requests.head(url + "/metrics", timeout=10).status_code == 200
        assert requests.post(url + "/metrics", timeout=10).status_code == 405
        for path in ("/", "/health", "/api/v1/spend/budgets", "/metrics/"):
            assert requests.get(url + path, timeout=10).status_code == 404, path
        assert requests.get(url + "/metrics", headers={"Host": "evil.example"}, timeout=10).status_code == 403
        assert server.get("/metrics").status_code == 200
        assert server.stop() == 0


def test_metrics_port_in_use_is_said():
    import eider
    with Server("--set", "collect.system=false") as server:
        done = eider.run("serve", "--port", "0", "--data-dir", server.data_dir + "-other", "--set", f"metrics.port={server.port}", timeout=30)
        assert done.returncode == 1 and "metrics.port" in done.stderr


def test_metrics_port_asks_for_the_token_when_it_must():
    port = free_port()
    with Server("--set", "collect.system=false", "--set", "metrics.token_required=true", "--set", f"metrics.port={port}",
                env={"EIDER_TOKEN": "geheim"}) as server:
        url = f"http://127.0.0.1:{port}/metrics"
        assert requests.get(url, timeout=10).status_code == 401
        assert requests.get(url, headers={"Authorization": "Bearer geheim"}, timeout=10).status_code == 200
        assert server.get("/metrics").status_code == 401


def test_process_metrics_can_be_left_out():
    with Server("--set", "collect.system=false", env={"PROMETHEUS_ENABLE_DEFAULT_METRICS": "false"}) as server:
        page = server.get("/metrics").text
        assert "_process_" not in page and "eider_meter_events_total" in page
