"""What the benchmarks share: peers that are started in a scratch directory and stopped by id, Eider itself, load, tables."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
import eider  # noqa: E402

_build = os.environ.get("EIDER_BUILD", os.path.join(ROOT, "build", "release"))
TICKS = os.sysconf("SC_CLK_TCK")
results = {}


def use_build(path):
    """Chooses the build folder."""
    global _build
    _build = os.path.abspath(path)
    eider.BIN = os.path.join(_build, "eider")


def tool(name):
    """A program of the build folder."""
    return os.path.join(_build, name)


def cpu_seconds(pid):
    """User and system seconds of a process and its children that ended."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid, what="VmRSS"):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    return 0


@contextlib.contextmanager
def peak_anon_mb(pid):
    """Yields a list whose one figure is, at the end, the most memory of no file that the process had meanwhile, seen every 5 ms."""
    peak, over = [0.0], threading.Event()

    def look():
        while not over.wait(0.005):
            resident, shared = (int(field) for field in open(f"/proc/{pid}/statm").read().split()[1:3])
            peak[0] = max(peak[0], (resident - shared) * os.sysconf("SC_PAGESIZE") / 1e6)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield peak
    finally:
        over.set()
        looker.join()


def disk_mb(path):
    out = subprocess.run(["du", "-s", "-B1", path], capture_output=True, text=True, check=True).stdout
    return int(out.split()[0]) / 1e6


def load(port, **options):
    args = [tool("bench_load"), "--port", str(port)]
    for key, value in options.items():
        args += ["--" + key.replace("_", "-"), str(value)]
    done = subprocess.run(args, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    answer = json.loads(done.stdout)
    if answer["failures"]:
        print("    note:", done.stderr.strip()[:200])
    return answer


def wait_port(port, path="/health", timeout=60):
    begin = time.monotonic()
    while time.monotonic() - begin < timeout:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


class Process:
    """A peer: started in a scratch directory, stopped by id."""

    def __init__(self, name, command, port, path="/health"):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_port(port, path)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def victoria(scratch):
    port = eider.free_port()
    binary = shutil.which("victoria-metrics")
    return binary and Process("VictoriaMetrics", [binary, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={scratch}/vm",
                                                  "-retentionPeriod=100y"], port)


def influx(scratch):
    binary = shutil.which("influxd")
    if not binary:
        return None
    port, rpc = eider.free_port(), eider.free_port()
    config = os.path.join(scratch, "influx.conf")
    with open(config, "w") as file:
        file.write(f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n[meta]\n dir = "{scratch}/influx/meta"\n[data]\n'
                   f' dir = "{scratch}/influx/data"\n wal-dir = "{scratch}/influx/wal"\n max-series-per-database = 0\n'
                   f' query-log-enabled = false\n[http]\n bind-address = "127.0.0.1:{port}"\n log-enabled = false\n'
                   ' max-body-size = 0\n[logging]\n level = "error"\n')
    peer = Process("InfluxDB", [binary, "-config", config], port, "/ping")
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/query?q=CREATE+DATABASE+bench", method="POST"))
    return peer


class Postgres:
    """A cluster of its own, on a Unix socket and a loopback port."""

    name = "PostgreSQL"

    def __init__(self, scratch):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.dir = os.path.join(scratch, "pg")
        self.port = eider.free_port()
        os.makedirs(self.dir)
        self.user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self.user:
            shutil.chown(self.dir, "postgres")
            os.chmod(scratch, 0o755)
        self._run("initdb", "-D", self.dir, "-A", "trust", "-U", "bench")
        self._run("pg_ctl", "-D", self.dir, "-w", "-l", f"{self.dir}/log", "-o",
                  f"-p {self.port} -k {self.dir} -c listen_addresses=127.0.0.1 -c max_wal_size=4GB", "start")

    def _run(self, tool, *args):
        subprocess.run([*self.user, os.path.join(self.bin, tool), *args], check=True, stdout=subprocess.DEVNULL)

    def psql(self, *statements, data=None):
        return subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-d", "postgres", "-qAt",
                               *(part for sql in statements for part in ("-c", sql))], input=data, capture_output=True, check=True)

    def timings(self, statements):
        """What psql waits for each of them on one connection, ms; the answers are thrown away."""
        script = "\\timing on\n\\o /dev/null\n" + "".join(f"{sql};\n" for sql in statements)
        out = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", "-d", "postgres", "-qAt"],
                             input=script.encode(), capture_output=True, check=True).stdout.decode()
        return [float(ms) for ms in re.findall(r"Time: ([\d.]+) ms", out)]

    def cpu(self):
        pids = subprocess.run(["pgrep", "-f", self.dir], capture_output=True, text=True).stdout.split()
        head = int(open(f"{self.dir}/postmaster.pid").readline())
        total = 0
        for pid in {*pids, str(head)}:
            try:
                fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
                total += sum(int(f) for f in fields[11:15])  # with children that ended
            except OSError:
                pass
        return total / TICKS

    def stop(self):
        self._run("pg_ctl", "-D", self.dir, "-m", "immediate", "stop")


def peers(args, scratch):
    if args.no_peers:
        return
    for make in (victoria, influx):
        peer = make(scratch)
        if peer:
            yield peer
            peer.stop()


def own_server(scratch, *more):
    return eider.Server("--set", "collect.system=false", "--log-level", "WARNING", *more,
                        data_dir=tempfile.mkdtemp(prefix="eider-", dir=scratch))


def table(title, columns, rows):
    print(f"\n{title}\n")
    widths = [max(len(str(r[i])) for r in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, ["-" * w for w in widths], *rows]:
        print("| " + " | ".join(str(v).ljust(w) for v, w in zip(row, widths)) + " |")
    sys.stdout.flush()
    results[title] = [dict(zip(columns, row)) for row in rows]
