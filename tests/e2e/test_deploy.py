"""Alert rules and dashboard of deploy/: Prometheus takes them, they fire when they should, and every metric that they
name is on the server's page."""
import json
import os
import re
import subprocess

import pytest
import requests
from eider import ROOT, Server

RULES = os.path.join(ROOT, "deploy", "prometheus")
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "eider-spend.json")
FILES = {"eider": "eider-spend.rules.yml", "quantbot": "eider-spend-quantbot.rules.yml"}
NAMESPACES = sorted(FILES)

# What is scraped once a minute, and which alerts fire at which minute. NAMESPACE stands for the first word of the names.
CASES = [
    ("a spent budget", 5,
     {'budget_breaker_state{budget="hour"}': "0 0 2x10", 'budget_used_credits{budget="hour"}': "0 50 100x10",
      'budget_reserved_credits{budget="hour"}': "0x12", 'budget_limit_credits{budget="hour"}': "100x12"},
     {"EiderBreakerOpen"}),
    ("a budget that fills, and one without a limit", 10,
     {'budget_breaker_state{budget="run",instance="run_id=1"}': "0x12",
      'budget_used_credits{budget="run",instance="run_id=1"}': "60x12",
      'budget_reserved_credits{budget="run",instance="run_id=1"}': "20x12",
      'budget_limit_credits{budget="run",instance="run_id=1"}': "100x12",
      'budget_breaker_state{budget="none"}': "0x12", 'budget_used_credits{budget="none"}': "0x12",
      'budget_reserved_credits{budget="none"}': "0x12", 'budget_limit_credits{budget="none"}': "0x12"},
     {"EiderBudgetNearlySpent"}),
    ("a budget that is not full", 10,
     {'budget_breaker_state{budget="run"}': "0x12", 'budget_used_credits{budget="run"}': "59x12",
      'budget_reserved_credits{budget="run"}': "20x12", 'budget_limit_credits{budget="run"}': "100x12",
      'budget_exhausted_seconds{budget="run"}': "+Inf +Inf +Inf +Inf +Inf +Inf +Inf +Inf +Inf +Inf +Inf"},
     set()),
    ("a budget that ends soon", 10,
     {'budget_breaker_state{budget="day"}': "0x12", 'budget_exhausted_seconds{budget="day"}': "1700-60x12"},
     {"EiderBudgetEndsSoon"}),
    ("forced open for long", 20, {'budget_breaker_state{budget="day"}': "3x30"}, {"EiderBreakerForcedOpen"}),
    ("forced open just now", 10, {'budget_breaker_state{budget="day"}': "3x30"}, set()),
    ("refusals", 5, {'budget_refused_calls_total{budget="hour",reason="open"}': "0 0 0 3x10"}, {"EiderCallsRefused"}),
    ("failing calls", 20,
     {'api_calls_total{api_name="birdeye",endpoint="/a",status="error"}': "0+2x30",
      'api_calls_total{api_name="birdeye",endpoint="/a",status="success"}': "0+8x30"}, {"EiderPaidCallsFail"}),
    ("few failing calls", 20,
     {'api_calls_total{api_name="birdeye",endpoint="/a",status="error"}': "0+1x30",
      'api_calls_total{api_name="birdeye",endpoint="/a",status="success"}': "0+0x30"}, set()),
    ("calls that fail now and then", 20,
     {'api_calls_total{api_name="birdeye",endpoint="/a",status="error"}': "0+1x30",
      'api_calls_total{api_name="birdeye",endpoint="/a",status="success"}': "0+99x30"}, set()),
    ("too many requests", 10, {'api_errors_total{api_name="b",endpoint="/a",error_type="http_429"}': "0+3x20"},
     {"EiderRateLimited"}),
    ("slow calls", 30,
     {'api_latency_seconds_bucket{api_name="b",endpoint="/a",le="10"}': "0+5x40",
      'api_latency_seconds_bucket{api_name="b",endpoint="/a",le="30"}': "0+10x40",
      'api_latency_seconds_bucket{api_name="b",endpoint="/a",le="+Inf"}': "0+10x40"}, {"EiderPaidCallsSlow"}),
    ("forgotten reservations", 20, {"meter_expired_total": "0+2x30", "meter_reserves_total": "0+10x30"},
     {"EiderLeasesRunOut"}),
    ("overruns", 20, {"meter_overruns_total": "0x10 1x20"}, {"EiderCallsCostMoreThanReserved"}),
    ("failed writes", 12, {"meter_failures_total": "0x10 1x20"}, {"EiderMeterCannotWrite"}),
    ("a log that shrinks", 20, {"event_log_seq": "100x10 5x20"}, {"EiderEventLogFellBack"}),
]


def promtool(*args):
    check = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check.stdout + check.stderr
    return check.stdout


def rules_text(namespace):
    with open(os.path.join(RULES, FILES[namespace])) as file:
        return file.read()


def dashboard_exprs(namespace):
    """Every query of the dashboard, with the variables filled in as Grafana does."""
    with open(DASHBOARD) as file:
        dashboard = json.load(file)
    exprs = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    fills = {"${namespace}": namespace, "$__rate_interval": "5m", "$__range": "6h", "$budget": ".*", "$api": ".*"}
    for name, value in fills.items():
        exprs = [expr.replace(name, value) for expr in exprs]
    assert not [expr for expr in exprs if "$" in expr]
    return dashboard, exprs


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_promtool_takes_the_rules(namespace):
    assert "16 rules found" in promtool("check", "rules", os.path.join(RULES, FILES[namespace]))


def test_the_rules_of_both_namespaces_are_the_same():
    eider, quantbot = (re.sub(r"^#.*\n", "", rules_text(n), flags=re.M) for n in NAMESPACES)
    eider = re.sub(r"^ *#.*\n", "", eider, flags=re.M)
    quantbot = re.sub(r"^ *#.*\n", "", quantbot, flags=re.M)
    assert re.sub(r"\beider([_:])", r"quantbot\1", eider) == quantbot


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_alerts_fire_when_they_should(namespace, tmp_path):
    alerts = re.findall(r"alert: (\w+)", rules_text(namespace))
    assert len(alerts) == 13
    tests = []
    for name, minute, series, firing in CASES:
        series = dict(series)
        series.setdefault("event_log_seq", "1x60")
        expr = f'group by (alertname) (ALERTS{{alertstate="firing"}})'
        tests.append({
            "name": name, "interval": "1m",
            "input_series": [{"series": f"{namespace}_{key}", "values": values} for key, values in series.items()],
            "promql_expr_test": [{
                "expr": expr, "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(firing)],
            }],
        })
    tests.append({"name": "nobody", "interval": "1m", "input_series": [{"series": "up", "values": "0x20"}],
                  "promql_expr_test": [{"expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                                        "eval_time": "10m",
                                        "exp_samples": [{"labels": '{alertname="EiderMeterAbsent"}', "value": 1}]}]})
    fired = set().union(*(firing for *_, firing in CASES)) | {"EiderMeterAbsent"}
    assert fired == set(alerts), "an alert that no case sets off"
    path = tmp_path / "rules.test.yml"
    path.write_text(json.dumps({"rule_files": [os.path.join(RULES, FILES[namespace])], "evaluation_interval": "1m",
                                "tests": tests}))
    promtool("test", "rules", str(path))


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_promtool_takes_the_queries_of_the_dashboard(namespace, tmp_path):
    dashboard, exprs = dashboard_exprs(namespace)
    assert dashboard["uid"] == "eider-spend" and len(exprs) > 20
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": [
        {"record": f"panel_{i}", "expr": expr} for i, expr in enumerate(exprs)]}]}))
    assert f"{len(exprs)} rules found" in promtool("check", "rules", str(path))


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_server_has_every_metric_that_they_name(namespace):
    text = rules_text(namespace) + "\n".join(dashboard_exprs(namespace)[1])
    wanted = {re.sub(r"_bucket$", "", name) for name in re.findall(rf"\b{namespace}_\w+", text)}
    assert len(wanted) >= 20
    with Server("--set", "collect.system=false", "--set", f"metrics.namespace={namespace}") as server:
        page = requests.get(server.url + "/metrics", timeout=10).text
    has = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    assert wanted <= has, sorted(wanted - has)
