"""The embedded store as a C programmer has it: installed into a prefix of its own, examples built by pkg-config alone,
shared and static; directories that go from programs to the server and back; writers that are killed."""
import os
import re
import signal
import subprocess
import sys

import pytest

from eider import BIN, ROOT, Server, run

BUILD = os.path.dirname(os.path.realpath(BIN))
NEEDLE = "SELECT (labels->>'thread') || '-' || epoch_us(timestamp) AS k FROM trading_metrics WHERE metric_name = 'writer'"


def command(*args, env=None, ok=True, data=None, timeout=300):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EIDER_")}
    done = subprocess.run(args, input=data, capture_output=True, text=True, env={**clean, **(env or {})}, timeout=timeout)
    assert not ok or done.returncode == 0, f"{args}: {done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    where = tmp_path_factory.mktemp("prefix")
    command("cmake", "--install", BUILD, "--prefix", str(where))
    return where


@pytest.fixture(scope="module", params=["shared", "static"])
def programs(request, prefix, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    command("make", "-C", os.path.join(ROOT, "examples"), f"OUT={out}",
            f"PKG_CONFIG_PATH={prefix}/lib/pkgconfig", *(["STATIC=1"] if request.param == "static" else []))
    needed = command("readelf", "-d", str(out / "tick_recorder")).stdout
    assert ("libeider.so.0.1" in needed) == (request.param == "shared")
    return out


def columns(programs, data, sql, *params):
    """The columns of an answer by name, each a list of texts."""
    found = {}
    for line in command(str(programs / "query_columns"), str(data), sql, *params).stdout.splitlines():
        name, _, cells = line.partition(":")
        if not re.match(r"batch of \d+ rows$", line):
            found.setdefault(name, []).extend(cells.split())
    return found


def test_recorded_ticks_go_to_the_server_and_back(programs, tmp_path):
    data = tmp_path / "data"
    ticks = "".join(f"BTC {64000 + i} {1700000000000000 + i}\n" for i in range(250))
    assert command(str(programs / "tick_recorder"), str(data), data=ticks).stdout == "250 rows, LSN 3\n"
    found = columns(programs, data, "SELECT count(*) AS n, max(last_price) AS p FROM market_data WHERE symbol = $1", "BTC")
    assert found == {"n": ["250"], "p": ["64249"]}
    with Server("--set", "collect.system=false", data_dir=str(data)) as server:
        assert server.sql("SELECT count(*), max(last_price) FROM market_data") == [[250, 64249.0]]
        rows = [{"symbol": "ETH", "last_price": 3000.5, "timestamp": 1700000000000000}]
        assert server.ingest("market_data", rows, ack="applied").status_code == 200
        assert server.stop() == 0
    assert columns(programs, data, "SELECT last_price AS p FROM market_data WHERE symbol = 'ETH'") == {"p": ["3000.5"]}
    assert command(str(programs / "tick_recorder"), str(data), data="ETH 3001\n").stdout.startswith("1 rows")
    with Server("--set", "collect.system=false", data_dir=str(data)) as server:
        assert server.sql("SELECT count(*) FROM market_data") == [[252]]


def test_bad_ticks_are_named(programs, tmp_path):
    done = command(str(programs / "tick_recorder"), str(tmp_path / "data"), data="BTC 1 99999999999999999999\n", ok=False)
    assert done.returncode == 1 and "timestamp: expected microseconds" in done.stderr
    done = command(str(programs / "query_columns"), str(tmp_path / "data"), "SELECT nonsense", ok=False)
    assert done.returncode == 1 and "invalid:" in done.stderr and "nonsense" in done.stderr


def test_second_opener_is_told_the_pid(programs, tmp_path):
    data = tmp_path / "data"
    with Server("--set", "collect.system=false", data_dir=str(data)) as server:
        done = command(str(programs / "query_columns"), str(data), "SELECT 1", ok=False)
        assert done.returncode == 1
        assert done.stderr.startswith("conflict:") and f"pid {server.process.pid}" in done.stderr
        assert server.stop() == 0
    writer = subprocess.Popen([str(programs / "live_writers"), str(data), "1", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline().startswith("ack 0 ")
        done = run("serve", "--port", "0", "--data-dir", str(data))
        assert done.returncode == 1 and f"pid {writer.pid}" in done.stderr
    finally:
        writer.kill()
        writer.stdout.close()
        writer.wait()


def test_subscriber_hears_every_row_of_all_writers(programs, tmp_path):
    lines = command(str(programs / "live_writers"), str(tmp_path / "data"), "8", "100").stdout.splitlines()
    assert lines[-1] == "heard 800 rows, missed 0, out of order 0"
    acks = [line.split() for line in lines[:-1]]
    assert len(acks) == 800 and {ack[0] for ack in acks} == {"ack"}
    assert {int(ack[3]) for ack in acks} == set(range(1, 801))


def read_acks(writer, count):
    """At least `count` whole lines of the writer, as "thread-time" keys."""
    acks = []
    while len(acks) < count:
        line = writer.stdout.readline()
        assert line.endswith("\n"), "the writer ended by itself"
        acks.append("-".join(line.split()[1:3]))
    return acks


def test_killed_writer_keeps_what_was_acknowledged(programs, tmp_path):
    data = tmp_path / "data"
    acknowledged = set()
    for turn in range(12):
        writer = subprocess.Popen([str(programs / "live_writers"), str(data), "4", "0"], stdout=subprocess.PIPE, text=True)
        acks = read_acks(writer, 1 + 37 * turn)
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read()  # what was in the pipe was acknowledged, too
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        acks += ["-".join(line.split()[1:3]) for line in rest.splitlines(True) if line.endswith("\n")]
        acknowledged.update(acks)
        found = columns(programs, data, NEEDLE)["k"]
        assert len(found) == len(set(found))
        assert acknowledged <= set(found), sorted(acknowledged - set(found))[:5]
    with Server("--set", "collect.system=false", data_dir=str(data)) as server:
        assert acknowledged <= {row[0] for row in server.sql(NEEDLE)}


def test_header_compiles_alone_and_beside_another_arrow(prefix, tmp_path):
    """With gcc, clang and g++; the guards let a program bring Arrow's structures itself."""
    own = re.search(r"#ifndef ARROW_C_DATA_INTERFACE.*#endif\n(?=\n/\*\n \* Describes)",
                    (prefix / "include" / "eider" / "eider.h").read_text(), re.S).group(0)
    body = ("#include <stdint.h>\n" + own + "#include <eider/eider.h>\n#include <eider/eider.h>\n"
            "#include <eider/client.h>\n#include <eider/birdeye.h>\n"
            "int main(void) { return eider_close(NULL) + (int)sizeof(struct ArrowArrayStream) == 0; }\n")
    for compiler, standard, name in (("gcc", "-std=c99", "x.c"), ("clang", "-std=c17", "x.c"), ("g++", "-std=c++11", "x.cc"),
                                     ("g++", "-std=c++20", "y.cc")):
        source = tmp_path / name
        source.write_text(body)
        command(compiler, standard, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only",
                f"-I{prefix}/include", str(source))


def test_cplusplus_program_links(prefix, tmp_path):
    source = tmp_path / "x.cc"
    source.write_text('#include <eider/eider.h>\n#include <cstdio>\nint main() { std::puts(eider_status_name(EIDER_BUSY)); }\n')
    flags = command("pkg-config", "--cflags", "--libs", "eider",
                    env={"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}).stdout.split()
    command("g++", str(source), "-o", str(tmp_path / "x"), *flags, f"-Wl,-rpath,{prefix}/lib")
    assert command(str(tmp_path / "x")).stdout == "busy\n"


def test_python_reads_arrow_arrays_by_ctypes(prefix, tmp_path):
    script = os.path.join(ROOT, "tests", "e2e", "arrow_by_ctypes.py")
    done = command(sys.executable, script, str(prefix / "lib" / "libeider.so"), str(tmp_path / "data"))
    assert done.stdout == "[('timestamp', 'tsu:'), ('even', 'g')] 100001 50000 4\n"


def test_reference_is_what_the_header_says(tmp_path):
    command(os.path.join(ROOT, "scripts", "libeider-docs"), "--check")
