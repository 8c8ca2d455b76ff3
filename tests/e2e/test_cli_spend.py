"""eider spend against a running server, and its check of price books without one."""
import json
import os

import pytest

from eider import Server, run


class Spend:
    def __init__(self, server, cwd):
        self.server = server
        self.cwd = cwd

    def run(self, *args, **kwargs):
        return run("spend", *args, "--url", self.server.url, cwd=self.cwd, **kwargs)

    def ask(self, *args):
        done = self.run(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def reserve(self, **body):
        return self.server.post("/api/v1/spend/reserve", json={"api_name": "birdeye", "max_credits": 60, **body})


@pytest.fixture
def spend(tmp_path):
    with Server() as server:
        yield Spend(server, str(tmp_path))


def definition(spend, name):
    return spend.server.get(f"/api/v1/spend/budgets/{name}").json()


def test_set_makes_a_budget_and_changes_what_is_given(spend):
    done = spend.run("set", "daily", "--limit", "1000.5", "--soft-limit", "800", "--window", "day", "--scope", "api=birdeye",
                     "--description", "birdeye's day")
    assert done.returncode == 0, done.stderr
    assert "daily" in done.stdout
    made = definition(spend, "daily")
    assert (made["hard_limit"], made["soft_limit"], made["window"], made["scope"]) == (1000.5, 800, "day", {"api": "birdeye"})
    assert spend.ask("set", "daily", "--limit", "2000", "--probes", "3")["hard_limit"] == 2000
    changed = definition(spend, "daily")
    assert (changed["hard_limit"], changed["soft_limit"], changed["window"], changed["scope"], changed["half_open_probes"],
            changed["description"]) == (2000, 800, "day", {"api": "birdeye"}, 3, "birdeye's day")
    spend.run("set", "daily", "--window", "90m", "--scope", "none")
    changed = definition(spend, "daily")
    assert (changed["window"], changed["window_minutes"], changed["scope"]) == ("sliding", 90, {})
    listed = spend.run("budgets").stdout
    assert "daily" in listed and "default" in listed and "2000" in listed
    assert {b["name"] for b in spend.ask("budgets")["budgets"]} == {"daily", "default"}


def test_status_shows_what_is_used_and_reserved(spend):
    spend.run("set", "each", "--limit", "100", "--scope", "run_id=*")
    assert spend.reserve(run_id="r1").status_code == 200
    status = spend.run("status").stdout
    assert status.startswith("breaker: closed\n")
    line, = [line for line in status.splitlines() if line.startswith("each")]
    assert "run_id=r1" in line and "60" in line and "100" in line
    told = spend.ask("status")
    assert told["breaker"]["tripped"] is False and len(told["budgets"]) == 2
    assert spend.reserve(run_id="r1").status_code == 503
    open_ones = spend.run("reservations").stdout
    assert "birdeye" in open_ones and "r1" in open_ones and "(1 row)" in open_ones
    assert spend.ask("reservations", "--count", "5")["count"] == 1


def test_force_open_refuses_until_enforce(spend):
    spend.run("set", "all", "--limit", "1000")
    assert spend.reserve().status_code == 200
    assert spend.run("force-open", "all", "--reason", "invoice day").returncode == 0
    refused = spend.reserve()
    assert refused.status_code == 503 and refused.json()["reason"] == "forced_open"
    assert spend.ask("enforce", "all")["mode"] == "enforce"
    assert spend.reserve().status_code == 200
    assert spend.ask("metrics-only", "all")["mode"] == "metrics_only"
    assert spend.reserve(max_credits=5000).status_code == 200
    assert spend.run("reset", "all").returncode == 0
    done = spend.run("delete", "all")
    assert (done.returncode, done.stdout) == (0, "budget all deleted\n")
    assert definition(spend, "all")["code"] == "EIDER_NOT_FOUND"
    gone = spend.run("delete", "all")
    assert gone.returncode == 1 and "all" in gone.stderr


def test_forecast_and_simulation(spend):
    for i in range(5):
        spend.server.post("/api/v1/events", json={"api_name": "birdeye", "endpoint": "/p", "success": True, "credits_cost": 60,
                                                  "timestamp": f"2026-01-01T00:0{i}:00Z"})
    run("eventlog", "--operation", "log", "--db-path", "x", "--url", spend.server.url, "--event",
        json.dumps({"api_name": "birdeye", "endpoint": "/p", "success": True, "credits_cost": 1}), cwd=spend.cwd)
    forecast = spend.run("forecast")
    assert forecast.returncode == 0 and "at this rate" in forecast.stdout
    assert spend.ask("forecast")["forecasts"][0]["name"] == "default"
    told = spend.ask("simulate", "--limit", "120", "--window", "60m", "--from", "2026-01-01", "--to", "2026-01-02")
    assert (told["calls"], told["refused"]) == (5, 3)
    shown = spend.run("simulate", "default", "--limit", "120", "--from", "2026-01-01", "--to", "2026-01-02")
    assert shown.returncode == 0 and "refused credits" in shown.stdout and "180" in shown.stdout


def test_prices_and_quotes(spend):
    shown = spend.run("prices").stdout
    assert "birdeye" in shown and "credits" in shown
    assert any(book["api"].lower() == "birdeye" for book in spend.ask("prices")["books"])
    quote = spend.ask("quote", "--api", "birdeye", "--endpoint", "/defi/ohlcv", "--param", "candles=5000")
    assert quote["credits"] == 120 and quote["price_rule"].startswith("birdeye")
    assert "120" in spend.run("quote", "--api", "birdeye", "--endpoint", "/defi/ohlcv", "-p", "candles=5000").stdout
    unknown = spend.run("quote", "--api", "nobody")
    assert unknown.returncode == 1 and unknown.stderr.startswith("eider: ")


GOOD = """\
book: mine
api: other
version: 1
effective_from: 2026-01-01
rules:
  - name: all
    credits: 3
"""


def test_check_prices_needs_no_server_and_names_the_place(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text(GOOD)
    bad = tmp_path / "bad.yaml"
    bad.write_text(GOOD.replace("credits: 3", "credits: much +"))
    done = run("spend", "check-prices", "good.yaml", cwd=str(tmp_path))
    assert done.returncode == 0 and "mine" in done.stdout and done.stderr == ""
    done = run("spend", "check-prices", "good.yaml", "bad.yaml", "missing.yaml", cwd=str(tmp_path))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("eider: bad.yaml:7:") and "missing.yaml" in second
    told = run("spend", "check-prices", "--json", "good.yaml", cwd=str(tmp_path))
    assert json.loads(told.stdout)["ok"] is True
    os.unlink(bad)
    assert run("spend", "check-prices", str(tmp_path)).returncode == 0


@pytest.mark.parametrize("args, message", [
    ([], "spend: which action? status, budgets, set, delete, reset, force-open, metrics-only, enforce, forecast, simulate, "
         "reservations, quote, prices or check-prices"),
    (["statsu"], "spend: unknown action statsu; did you mean status?"),
    (["set"], "spend set: which budget? see `eider spend --help`"),
    (["check-prices"], "spend check-prices: which file? see `eider spend --help`"),
    (["status", "x"], 'spend status: unexpected argument "x"'),
    (["delete", "x", "--limit", "5"], "spend delete takes no --limit; see `eider spend --help`"),
])
def test_mistakes_say_what_to_do(args, message, tmp_path):
    done = run("spend", *args, cwd=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"eider: {message}\n")


def test_wrong_definitions_are_refused_before_they_are_sent(spend):
    done = spend.run("set", "x")
    assert done.returncode == 2 and "needs --limit CREDITS" in done.stderr
    done = spend.run("quote")
    assert (done.returncode, done.stderr) == (2, "eider: spend quote: of which API? give --api NAME, and --endpoint PATH\n")
    # What only the server knows comes in the server's words.
    done = spend.run("set", "no spaces", "--limit", "5")
    assert done.returncode == 1 and "no spaces" in done.stderr


def test_without_a_server_it_says_so(tmp_path):
    done = run("spend", "status", cwd=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == ("eider: no server has data open, and budgets are a server's; start `eider serve`, or give --data-dir or "
                           "--url\n")
    assert os.listdir(tmp_path) == []


def test_the_environment_names_the_server(spend):
    done = run("spend", "status", cwd=spend.cwd, env={"EIDER_URL": spend.server.url})
    assert done.returncode == 0 and done.stdout.startswith("breaker: ")
    # A flag is nearer.
    done = run("spend", "status", "--data-dir", "none", cwd=spend.cwd, env={"EIDER_URL": spend.server.url})
    assert done.returncode == 1 and "no server has none open" in done.stderr
