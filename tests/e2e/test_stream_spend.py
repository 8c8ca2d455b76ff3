"""The topic "spend" of the WebSocket stream: only for those who ask, what is in it, its bounds, and a restart."""
import asyncio
import json
import time

import pytest
import requests
import websockets
from eider import Server

WAIT_S = 30


@pytest.fixture
def server():
    with Server("--set", "collect.system=false") as running:
        yield running


def post(server, path, body):
    answer = requests.post(f"{server.url}/api/v1/{path}", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def reserve(server, run, credits, **more):
    return post(server, "spend/reserve", {"api_name": "birdeye", "endpoint": "/defi/price", "run_id": run,
                                          "max_credits": credits, **more})["reservation_id"]


def commit(server, reservation, credits, **more):
    return post(server, "spend/commit", {"reservation_id": reservation, "credits": credits, **more})["event_id"]


def set_budget(server, name, **definition):
    answer = requests.put(f"{server.url}/api/v1/spend/budgets/{name}", json=definition, timeout=30)
    assert answer.status_code == 200, answer.text


def frames_until(server, holds, topics=("spend",)):
    """Subscribes, and returns the first frame for which `holds` is true."""
    async def talk():
        async with websockets.connect(server.url.replace("http", "ws") + "/ws/metrics") as socket:
            if topics:
                await socket.send("subscribe:" + ",".join(topics))
            end = time.monotonic() + WAIT_S
            while time.monotonic() < end:
                text = await asyncio.wait_for(socket.recv(), WAIT_S)
                frame = json.loads(text) if text.startswith("{") else {}
                if frame and "type" not in frame and holds(frame):
                    return frame
            raise AssertionError(f"not in {WAIT_S} s; the last frame: {text}")
    return asyncio.run(talk())


def spend_until(server, holds):
    return frames_until(server, lambda frame: "spend" in frame and holds(frame["spend"]))["spend"]


def test_without_a_subscription_frames_are_those_of_before(server):
    commit(server, reserve(server, "r", 5), 5)
    frame = frames_until(server, lambda frame: True, topics=())
    assert set(frame) == {"timestamp", "market_data", "strategy", "execution", "system", "trades", "server_time"}
    current = requests.get(server.url + "/api/metrics/current", timeout=10).json()
    assert "spend" not in current


def test_reservations_and_entries_show_in_the_next_frames(server):
    set_budget(server, "run", scope={"run_id": "*"}, window="day", hard_limit=100, soft_limit=80)
    reservation = reserve(server, "r1", 40.5)
    spend = spend_until(server, lambda s: s["reserved"] == 40.5)
    assert spend["reservations"] == 1
    assert (spend["events"], spend["credits_total"], spend["recent"]) == (0, 0, [])
    event = commit(server, reservation, 30, status_code=200, latency_ms=12.5)
    spend = spend_until(server, lambda s: s["reserved"] == 0 and s["recent"])
    assert spend["credits_total"] == 30
    [recent] = spend["recent"]
    assert recent.pop("timestamp")
    assert recent == {"id": event, "api_name": "birdeye", "endpoint": "/defi/price", "status_code": 200,
                      "success": True, "latency_ms": 12.5, "credits": 30, "run_id": "r1"}
    budgets = {(b["name"], b["instance"]): b for b in spend["budgets"]}
    run = budgets["run", "run_id=r1"]
    assert (run["used"], run["reserved"], run["hard_limit"], run["soft_limit"], run["state"], run["mode"]) == (
        30, 0, 100, 80, "closed", "enforce")
    assert "forecast_at" in run
    assert budgets["default", ""]["used"] == 30
    commit(server, reserve(server, "r1", 70), 70, status_code=200)
    spend_until(server, lambda s: [b["state"] for b in s["budgets"] if b["instance"] == "run_id=r1"] == ["open"])


def test_of_many_counters_the_fullest_are_shown(server):
    set_budget(server, "run", scope={"run_id": "*"}, window="day", hard_limit=1000)
    for i in range(300):
        reserve(server, f"r{i}", i + 1)
    spend = spend_until(server, lambda s: s["reservations"] == 300)
    assert spend["budgets_total"] >= 301
    assert len(spend["budgets"]) == 256
    shown = {b["instance"]: b["reserved"] for b in spend["budgets"] if b["name"] == "run"}
    assert min(shown.values()) >= 45 and shown["run_id=r299"] == 300
    assert spend["reserved"] == 300 * 301 / 2


def test_after_a_restart_recent_entries_and_reservations_are_there(server):
    events = [commit(server, reserve(server, "r", 1), 1) for _ in range(25)]
    reserve(server, "later", 7, ttl_ms=3600000)
    spend = spend_until(server, lambda s: s["events"] == 25)
    assert [e["id"] for e in spend["recent"]] == events[:4:-1]
    server.stop()
    server.start()
    spend = spend_until(server, lambda s: s["reserved"] == 7)
    assert [e["id"] for e in spend["recent"]] == events[:4:-1]
    assert (spend["events"], spend["credits_total"]) == (0, 0)
    assert [b["used"] for b in spend["budgets"] if b["name"] == "default"] == [25]
