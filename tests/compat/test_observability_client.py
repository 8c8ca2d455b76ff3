"""A client of the former observability API, written as its users write theirs (requests and websockets, from the paths,
fields and stream behaviour in docs/compatibility.md), against Eider unchanged."""
import asyncio
import datetime
import json

import pytest
import requests
import websockets

from eider import Server, wait_for


class ObservabilityClient:
    """What a bot's dashboard of the original has."""

    def __init__(self, base):
        self.base = base
        self.session = requests.Session()

    def _get(self, path, **params):
        answer = self.session.get(self.base + path, params=params, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def current(self):
        return self._get("/api/metrics/current")

    def history(self, **body):
        answer = self.session.post(self.base + "/api/metrics/history", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def symbols(self):
        return self._get("/api/metrics/symbols")

    def summary(self):
        return self._get("/api/metrics/summary")

    def trades(self, **filters):
        return self._get("/api/trades/", **filters)

    def quality(self):
        return self._get("/api/trades/execution/quality")

    def system(self, what):
        return self._get("/api/system/" + what)

    async def stream(self, frames):
        """The first message and so many frames of the live stream."""
        url = self.base.replace("http", "ws") + "/ws/metrics"
        async with websockets.connect(url) as socket:
            connected = json.loads(await socket.recv())
            got = []
            while len(got) < frames:
                text = await asyncio.wait_for(socket.recv(), 10)
                if text == "ping":
                    continue
                got.append(json.loads(text))
            return connected, got


@pytest.fixture(scope="module")
def demo():
    with Server("--demo") as server:
        client = ObservabilityClient(server.url)
        wait_for(lambda: client.current()["market_data"]["symbols"] and client.current()["system"], what="demo data")
        yield server, client


def test_current_has_the_fields_of_the_original(demo):
    _, client = demo
    body = client.current()
    assert {"timestamp", "market_data", "strategy", "execution", "system"} <= set(body)
    market = body["market_data"]
    assert {"timestamp", "symbols", "total_trades", "total_volume", "symbols_tracked"} <= set(market)
    for quote in market["symbols"].values():
        assert {"last_price", "bid", "ask", "volume", "trades"} <= set(quote)
    assert market["symbols_tracked"] == len(market["symbols"])
    assert market["total_volume"] == sum(q["volume"] for q in market["symbols"].values())
    assert {"timestamp", "strategies", "total_pnl", "daily_pnl", "open_positions", "signals_generated"} <= set(body["strategy"])
    assert {"timestamp", "orders_today", "fills_today", "cancelled", "rejected", "fill_rate", "avg_latency_ms",
            "avg_slippage_bps"} <= set(body["execution"])
    system = body["system"]
    assert {"timestamp", "cpu_percent", "memory_percent", "disk_usage_percent", "uptime", "health", "active_alerts"} <= set(system)
    assert 0 <= system["cpu_percent"] <= 100 and 0 < system["memory_percent"] <= 100 and 0 < system["disk_usage_percent"] <= 100
    assert system["health"] in ("healthy", "degraded", "unhealthy")
    datetime.datetime.fromisoformat(market["timestamp"])


def test_summary_quality_and_symbols(demo):
    _, client = demo
    summary = client.summary()
    assert set(summary) >= {"timestamp", "market", "strategy", "execution", "system"}
    assert set(summary["market"]) >= {"symbols_tracked", "total_trades", "total_volume"}
    assert set(summary["strategy"]) >= {"active_strategies", "total_pnl", "daily_pnl", "open_positions"}
    assert set(summary["execution"]) >= {"orders_today", "fills_today", "fill_rate", "avg_latency_ms"}
    assert set(summary["system"]) >= {"cpu_usage", "memory_usage", "uptime_seconds", "health_status"}
    assert set(client.quality()) >= {"fill_rate", "avg_latency_ms", "avg_slippage_bps", "rejection_rate", "cancellation_rate"}
    symbols = client.symbols()
    assert symbols["count"] == len(symbols["symbols"]) == summary["market"]["symbols_tracked"]


def test_history_in_the_form_that_the_original_could_not_answer(demo):
    _, client = demo
    symbol = client.symbols()["symbols"][0]
    body = wait_for(lambda: (h := client.history(time_range="1h", metric_types=["market_data"], symbols=[symbol],
                                                 interval="1m"))["count"] and h, what="history")
    row = body["data"][0]
    assert {"type", "timestamp", "symbol", "avg_price", "high", "low", "total_volume", "total_trades", "avg_spread"} <= set(row)
    assert row["symbol"] == symbol and row["low"] <= row["avg_price"] <= row["high"]
    stamps = [r["timestamp"] for r in body["data"]]
    assert stamps == sorted(stamps, reverse=True)
    both = client.history(time_range="HOUR_1", interval="MINUTE_5", symbol=symbol)
    assert {r["type"] for r in both["data"]} == {"market_data", "strategy"}
    for kind in ("execution", "system"):
        assert wait_for(lambda: client.history(time_range="1h", metric_types=[kind])["count"], what=kind)


def test_trades_are_listed_newest_first(demo):
    _, client = demo
    body = wait_for(lambda: (t := client.trades(limit=10))["total"] >= 5 and t, what="demo trades")
    assert {"trade_id", "symbol", "side", "quantity", "price", "timestamp", "latency_ms", "slippage_bps", "pnl", "strategy",
            "order_id"} <= set(body["trades"][0])
    stamps = [t["timestamp"] for t in body["trades"]]
    assert stamps == sorted(stamps, reverse=True)
    assert body["trades"][0]["trade_id"].startswith("demo-")


def test_system_answers(demo):
    _, client = demo
    health = client.system("health")
    assert set(health["components"]) >= {"cpu", "memory", "disk"} and health["connections"]["database"] == "connected"
    performance = client.system("performance")
    assert performance["latency_p50"] <= performance["latency_p95"] <= performance["latency_p99"]
    assert performance["latency_p50"] not in (0, 10)  # the original's constant
    components = client.system("components")
    assert components["status"] == "healthy" and components["components"]["websocket"]["stats"]["max_connections"] == 10000
    stats = client.system("stats")
    assert stats["api"]["running"] and all({"name", "status", "uptime", "metrics_collected", "errors", "error_rate"} <= set(c)
                                           for c in stats["collectors"].values())
    logs = client.system("logs/recent")
    assert logs["count"] == len(logs["logs"]) and logs["level"] == "INFO"
    answer = client.session.post(client.base + "/api/system/alerts/acknowledge/none", timeout=10).json()
    assert answer["status"] == "acknowledged" and answer["alert_id"] == "none"


def test_stream_first_message_and_frames(demo):
    _, client = demo
    connected, frames = asyncio.run(client.stream(12))
    assert connected["type"] == "connected" and connected["update_frequency_hz"] == 10 and len(connected["client_id"]) == 36
    assert isinstance(connected["server_time"], float)
    for frame in frames:
        assert {"timestamp", "market_data", "strategy", "execution", "system", "server_time"} <= set(frame)
        assert "type" not in frame and isinstance(frame["timestamp"], float) and isinstance(frame["server_time"], float)
    stamps = [f["timestamp"] for f in frames]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    prices = {json.dumps(f["market_data"]["symbols"]) for f in frames}
    assert len(prices) > 5  # the page moves
    assert len({f["system"]["timestamp"] for f in frames}) > 5  # and the host's figures, too


async def _collect(socket, count):
    got = []
    while len(got) < count:
        text = await asyncio.wait_for(socket.recv(), 10)
        if text not in ("ping", "pong"):
            got.append(json.loads(text))
    return got


def test_ping_gets_pong_and_other_text_is_ignored(demo):
    server, _ = demo

    async def talk():
        async with websockets.connect(server.url.replace("http", "ws") + "/ws/metrics") as socket:
            await socket.send("hello?")
            await socket.send("ping")
            while await asyncio.wait_for(socket.recv(), 10) != "pong":
                pass
    asyncio.run(talk())


def test_subscribe_narrows_and_unsubscribe_widens(demo):
    server, _ = demo

    async def talk():
        async with websockets.connect(server.url.replace("http", "ws") + "/ws/metrics") as socket:
            await socket.recv()
            await socket.send("subscribe:system")
            while True:
                frame = (await _collect(socket, 1))[0]
                if "market_data" not in frame:
                    break
            assert "system" in frame and "execution" not in frame
            await socket.send("unsubscribe:system")
            while "market_data" not in (await _collect(socket, 1))[0]:
                pass
    asyncio.run(talk())


def test_heartbeat_is_the_bare_text_ping():
    with Server("--set", "websocket.heartbeat_interval=1s") as server:
        async def talk():
            async with websockets.connect(server.url.replace("http", "ws") + "/ws/metrics") as socket:
                while await asyncio.wait_for(socket.recv(), 10) != "ping":
                    pass
        asyncio.run(talk())


def test_connection_over_the_limit_is_closed_with_1008():
    with Server("--set", "websocket.max_connections=2") as server:
        url = server.url.replace("http", "ws") + "/ws/metrics"

        async def talk():
            async with websockets.connect(url) as one, websockets.connect(url) as two:
                await one.recv()
                await two.recv()
                async with websockets.connect(url) as three:
                    with pytest.raises(websockets.ConnectionClosed) as closed:
                        while True:
                            await asyncio.wait_for(three.recv(), 10)
                    assert closed.value.code == 1008 and closed.value.reason == "Max connections reached"
                await _collect(one, 1)
        asyncio.run(talk())


def test_foreign_origin_is_refused(demo):
    server, _ = demo

    async def talk():
        with pytest.raises(websockets.InvalidStatusCode):
            async with websockets.connect(server.url.replace("http", "ws") + "/ws/metrics", origin="http://evil.example"):
                pass
    asyncio.run(talk())


def test_server_closes_streams_with_1001_when_it_stops():
    with Server() as server:
        async def talk():
            async with websockets.connect(server.url.replace("http", "ws") + "/ws/metrics") as socket:
                await socket.recv()
                server.process.terminate()
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    while True:
                        await asyncio.wait_for(socket.recv(), 20)
                assert closed.value.code == 1001
        asyncio.run(talk())
        assert server.process.wait(30) == 0
