"""A disk that fails to sync: nothing is acknowledged meanwhile, nothing acknowledged is lost, the service comes back by itself."""
import os
import subprocess
import tempfile

from eider import ROOT, Server, wait_for
from oracle import Oracle
from test_disk import SETTINGS, judge, write_for


def test_failing_sync_refuses_writes_until_the_disk_works_again():
    with tempfile.TemporaryDirectory(prefix="eider-sync-") as folder:
        shim, trigger = os.path.join(folder, "fail_sync.so"), os.path.join(folder, "fail")
        subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, os.path.join(ROOT, "tests/fault/fail_sync.c"), "-ldl"],
                       check=True)
        oracle = Oracle(20)
        server = Server(*SETTINGS, env={"LD_PRELOAD": shim, "EIDER_FAIL_SYNC": trigger})
        try:
            server.start()
            write_for(oracle, server, 100)
            stop, threads = oracle.run(server, 1)
            for _ in range(3):
                open(trigger, "w").close()
                wait_for(lambda: server.get("/health").status_code == 503, timeout_s=30, what="red health")
                refused = server.ingest("trades", {"trade_id": "refused", "symbol": "A", "side": "buy", "quantity": 1, "price": 1})
                assert refused.status_code == 503 and refused.headers["Retry-After"], refused.text
                goal = oracle.acks
                os.unlink(trigger)
                wait_for(lambda: oracle.acks > goal + 20, timeout_s=30, what="writes again")
                wait_for(lambda: server.get("/health").status_code == 200, timeout_s=30, what="green health")
            stop.set()
            for thread in threads:
                thread.join()
            assert oracle.refusals > 0
            judge(oracle, server)
            server.kill()
            server.start()
            judge(oracle, server)
            # A refused write must not come back, whatever is still in the segment that failed.
            assert server.sql("SELECT count(*) FROM trades WHERE trade_id = 'refused'") == [[0]]
        finally:
            server.close()
