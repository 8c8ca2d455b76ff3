"""The gateway, the C client and the drop-in command line log what a paid API billed, to the credit:
one server, one provider that misbehaves, three ways to be metered."""
import json
import subprocess
import urllib.error
import urllib.request

from eider import BIN, Server, wait_for
from test_client_install import command, prefix, programs  # noqa: F401 (fixtures)
from upstream import Upstream

TOKEN = "So11111111111111111111111111111111111111112"
CALLS = ([f"/defi/price?address={TOKEN}"] * 12 +
         [f"/defi/v3/ohlcv?address={TOKEN}&type=1m&time_from=1700000000&time_to={1700000000 + 60 * n}"
          for n in (10, 999, 1000, 4999, 5000)] * 2)


def settled(upstream):
    """What it counted, once the last answer is counted, too: it counts behind answering."""
    return wait_for(lambda: upstream.stats() if upstream.stats()["in_flight"] == 0 else None, what="calls to end")


def through_gateway(server):
    for path in CALLS:
        try:
            urllib.request.urlopen(server.url + "/gateway/birdeye" + path, timeout=30).read()
        except urllib.error.HTTPError as error:
            assert error.code in (429, 500), error


def by_the_c_client(programs, upstream, server):
    for path in CALLS[:12]:
        command(str(programs / "price"), upstream.url, path, server.url, ok=False)


def by_the_command_line(upstream, server):
    """A client of the original's kind: calls, then logs what it thinks the call cost."""
    before = settled(upstream)["credits"]
    for n, path in enumerate(CALLS):
        status, price = 200, 0
        try:
            urllib.request.urlopen(upstream.url + path, timeout=30).read()
        except urllib.error.HTTPError as error:
            status = error.code
        price = settled(upstream)["credits"] - before
        before += price
        event = {"id": f"cli-{n}", "timestamp": "", "api_name": "Cli", "endpoint": path.split("?")[0],
                 "status_code": status, "success": status == 200, "latency_ms": 1.5, "credits_cost": price}
        del event["timestamp"]
        done = subprocess.run([BIN, "eventlog", "--operation", "log", "--db-path", "ignored.duckdb",
                               "--url", server.url, "--event", json.dumps(event)],
                              capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout) == {"success": True}, done.stdout


def test_all_three_agree_with_the_bill(programs, tmp_path):  # noqa: F811
    with Upstream() as upstream:
        config = tmp_path / "eider.yaml"
        config.write_text(f"""
gateway:
  upstreams:
    birdeye:
      base_url: {upstream.url}
      api_name: Birdeye
      retries: 0
""")
        with Server("--config", str(config), "--set", "collect.system=false") as server:
            billed = {}

            def spent():
                rows = server.sql("SELECT api_name, sum(credits_cost)::DOUBLE AS credits FROM api_event_log GROUP BY ALL")
                return {name: float(credits) for name, credits in rows}

            for name, way in (("Birdeye", lambda: through_gateway(server)),
                              ("Example", lambda: by_the_c_client(programs, upstream, server)),
                              ("Cli", lambda: by_the_command_line(upstream, server))):
                upstream.reset()
                upstream.faults(status=429, ratio=0.15, seed=3, retry_after=0)
                upstream.faults(status=500, ratio=0.15, seed=4)
                way()
                stats = settled(upstream)
                assert stats["failed"] > 0 and stats["credits"] > 0, stats
                billed[name] = stats["credits"]
            found = wait_for(lambda: spent() if spent() == billed else None, what=f"{billed}, not {spent()}")
            assert found == billed
            total = server.get("/api/v1/events/stats").json()["total_credits"]
            assert float(total) == sum(billed.values())
