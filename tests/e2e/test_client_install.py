"""libeider as a C programmer has it: installed into a prefix of its own, examples built by pkg-config
alone, shared and static, run against a paid API and a server."""
import os
import re
import ssl
import subprocess

import pytest

from eider import BIN, ROOT, Server, wait_for
from upstream import Upstream

BUILD = os.path.dirname(os.path.realpath(BIN))
TOKEN = "So11111111111111111111111111111111111111112"
DAY = 1700006400

TRUSTING = """
#include <eider/client.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    struct eider_client_options options = {.base_url = argv[argc - 2], .ca_file = argv[argc - 1]};
    struct eider_client *client;
    struct eider_response *response;
    if (eider_client_open(&options, &client, NULL, 0) != EIDER_CLIENT_OK)
        return 1;
    eider_client_get(client, "/echo", &response);
    printf("%s %u\\n", eider_client_status_name(response->status), response->attempts);
    eider_response_free(response);
    eider_client_close(client);
}
"""


def command(*args, env=None, ok=True, timeout=300):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EIDER_", "BIRDEYE_"))}
    clean.update({"no_proxy": "*", **(env or {})})
    done = subprocess.run(args, capture_output=True, text=True, env=clean, timeout=timeout)
    assert not ok or done.returncode == 0, f"{args}: {done.stdout}\n{done.stderr}"
    return done


def event_log(server, count, columns):
    """The columns of all `count` entries, in order, once SQL sees them; exact decimals as numbers."""
    def ask():
        rows = server.sql(f"SELECT {columns} FROM api_event_log ORDER BY seq")
        return rows if len(rows) >= count else None
    rows = wait_for(ask, what=f"{count} entries")
    assert len(rows) == count
    return [[float(v) if isinstance(v, str) and re.fullmatch(r"-?[0-9.]+", v) else v for v in row]
            for row in rows]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    where = tmp_path_factory.mktemp("prefix")
    command("cmake", "--install", BUILD, "--prefix", str(where))
    return where


@pytest.fixture(scope="module", params=["shared", "static"])
def programs(request, prefix, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    command("make", "-C", os.path.join(ROOT, "examples"), f"OUT={out}",
            *(["STATIC=1"] if request.param == "static" else []),
            env={"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")})
    needed = command("readelf", "-d", str(out / "price")).stdout
    assert ("libeider.so.0.1" in needed) == (request.param == "shared")
    return out


def test_installed_files_are_all_there(prefix):
    lib = prefix / "lib"
    assert os.readlink(lib / "libeider.so") == "libeider.so.0.1"
    assert os.readlink(lib / "libeider.so.0.1") == "libeider.so.0.1.0"
    assert (lib / "libeider.a").exists() and (lib / "eider" / "libduckdb.so").exists()
    assert set(os.listdir(prefix / "include" / "eider")) == {"api.h", "batch.h", "birdeye.h", "client.h", "eider.h"}
    assert str(prefix) in (lib / "pkgconfig" / "eider.pc").read_text()


def test_library_exports_the_headers_functions_and_nothing_else(prefix):
    listing = command("nm", "-D", "--defined-only", str(prefix / "lib" / "libeider.so")).stdout
    exported = {line.split()[-1] for line in listing.splitlines()} - {"EIDER_0.1"}
    assert all(name.endswith("@@EIDER_0.1") for name in exported), exported
    headers = "".join((prefix / "include" / "eider" / name).read_text()
                      for name in os.listdir(prefix / "include" / "eider"))
    declared = set()
    for text in re.findall(r"EIDER_API\b(.*?);", headers, re.S):
        declared.update(re.findall(r"\b(eider_\w+)\s*\(", text)[:1])
    assert {name.split("@")[0] for name in exported} == declared
    static = command("nm", "-g", "--defined-only", str(prefix / "lib" / "libeider.a")).stdout
    assert {line.split()[-1] for line in static.splitlines() if " T " in line} == declared


def test_headers_stand_alone_in_c_and_cplusplus(prefix, tmp_path):
    for header in sorted(os.listdir(prefix / "include" / "eider")):
        for compiler, standard, name in (("cc", "-std=c99", "x.c"), ("c++", "-std=c++11", "x.cc")):
            source = tmp_path / name
            source.write_text(f"#include <eider/{header}>\nint main(void) {{ return 0; }}\n")
            command(compiler, standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                    f"-I{prefix}/include", str(source))


def test_call_without_a_meter(programs):
    with Upstream() as up:
        done = command(str(programs / "price"), up.url, "/echo?x=1")
        assert '"path": "/echo"' in done.stdout
        assert up.calls()[0]["headers"]["user-agent"] == "eider/0.1.0"
        up.faults(status=404)
        assert command(str(programs / "price"), up.url, "/echo", ok=False).returncode == 1


def test_call_is_metered_by_a_server(programs):
    with Upstream() as up, Server("--set", "collect.system=false") as server:
        done = command(str(programs / "price"), up.url, f"/defi/price?address={TOKEN}", server.url)
        assert "60 credits, event " in done.stderr
        columns = ("api_name, endpoint, status_code, success, credits_cost, run_id, "
                   "reservation_id IS NOT NULL AS reserved")
        assert event_log(server, 1, columns) == [["Example", "/defi/price", 200, True, 60, "example", True]]
        assert up.stats()["credits"] == 60


def test_retries_are_entries_of_their_own(programs):
    with Upstream() as up, Server("--set", "collect.system=false") as server:
        up.faults(status=503, count=1, retry_after=0)
        command(str(programs / "price"), up.url, f"/defi/price?address={TOKEN}", server.url)
        assert event_log(server, 2, "success, status_code, credits_cost") == [[False, 503, 0],
                                                                              [True, 200, 60]]


def test_budget_is_never_overspent_by_threads(programs):
    """Sixteen threads want 160 calls of 60 credits, the budget has room for 50."""
    with Upstream() as up, Server("--set", "collect.system=false") as server:
        budget = {"scope": {}, "window": "sliding", "window_minutes": 60, "hard_limit": 3000}
        answer = server.session.put(server.url + "/api/v1/spend/budgets/small", json=budget, timeout=30)
        assert answer.status_code in (200, 201), answer.text
        done = command(str(programs / "threads"), up.url, f"/defi/price?address={TOKEN}", "16", "10",
                       server.url)
        assert done.stdout == "ok 50 refused 110 other 0 credits 3000\n"
        assert up.stats()["requests"] == 50 and up.stats()["credits"] == 3000
        assert up.stats()["connections"] <= 16


def test_certificate_that_nobody_vouches_for_is_refused(programs, prefix, tmp_path):
    command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(tmp_path / "k.pem"),
            "-out", str(tmp_path / "c.pem"), "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    with Upstream(tls=context) as up:
        done = command(str(programs / "price"), up.url, "/echo", ok=False)
        assert done.returncode == 1 and "network: Network error: SSL certificate" in done.stderr
        assert up.stats()["requests"] == 0
        trusting = tmp_path / "trusting.c"
        trusting.write_text(TRUSTING)
        flags = command("pkg-config", "--cflags", "--libs", "eider",
                        env={"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}).stdout.split()
        command("cc", str(trusting), "-o", str(tmp_path / "trusting"), *flags,
                f"-Wl,-rpath,{prefix}/lib")
        done = command(str(tmp_path / "trusting"), up.url, str(tmp_path / "c.pem"))
        assert done.stdout == "ok 1\n" and up.stats()["requests"] == 1


def test_refused_call_touches_nothing(programs):
    with Upstream() as up:
        done = command(str(programs / "price"), up.url, "/echo", "http://127.0.0.1:1", ok=False)
        assert done.returncode == 2 and "refused:" in done.stderr
        assert up.stats()["requests"] == 0


def test_candles_are_metered_in_the_process(programs, tmp_path):
    data = tmp_path / "data"
    with Upstream(keys=["k1", "k2"]) as up:
        env = {"BIRDEYE_API_KEY_1": "k1", "BIRDEYE_API_KEY_2": "k2"}
        done = command(str(programs / "candles"), TOKEN, str(DAY), str(data), up.url, env=env)
        assert done.stdout.splitlines()[-1].startswith("used ")
        assert up.stats()["by_key"] == {"k1": 1, "k2": 1}
        assert up.stats()["credits"] == 120
        calls = up.calls()
    with Server("--set", "collect.system=false", data_dir=str(data)) as server:
        rows = event_log(server, 2, "api_key, credits_cost, metadata_json")
        assert [row[:2] for row in rows] == [["key-1", 60], ["key-2", 60]]
        assert "k1" not in str(rows) and "k2" not in str(rows)
    assert [call["path"] for call in calls] == ["/defi/v3/ohlcv"] * 2
    assert calls[0]["headers"]["x-chain"] == "solana"
