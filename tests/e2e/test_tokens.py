"""Tokens with scopes: what each may do, and what is said when it may not."""
import hashlib

import pytest

import eider
from eider import Server

TOKENS = {"writer": "ingest", "viewer": "read", "bot": "spend", "operator": "admin"}


@pytest.fixture(scope="module")
def guarded():
    yaml = "server:\n  token: main-token-1\n  tokens:\n"
    for name, scope in TOKENS.items():
        digest = hashlib.sha256(f"{name}-token".encode()).hexdigest()
        yaml += f"    - {{name: {name}, scopes: [{scope}], " + (f"sha256: {digest}}}\n" if name == "bot" else f"token: {name}-token}}\n")
    server = Server("--set", "collect.system=false", "--config", "@", env={"EIDER_ACCESS_LOG": "true"})
    path = server.data_dir + ".yaml"
    open(path, "w").write(yaml)
    server.args[server.args.index("@")] = path
    with server as running:
        yield running


def ask(server, token, method, path, **kwargs):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return server.session.request(method, server.url + path, headers=headers, timeout=30, **kwargs)


ROUTES = [("POST", "/api/v1/ingest/market_data", "ingest"), ("POST", "/api/v1/sql", "read"), ("GET", "/api/metrics/current", "read"),
          ("GET", "/api/v1/events", "read"), ("POST", "/api/v1/spend/reserve", "spend"), ("POST", "/api/v1/spend/commit", "spend"),
          ("PUT", "/api/v1/spend/budgets/b", "admin"), ("DELETE", "/api/v1/spend/budgets/b", "admin"),
          ("POST", "/api/v1/spend/budgets/b/reset", "admin"), ("POST", "/write", "ingest")]


@pytest.mark.parametrize("method, path, scope", ROUTES)
def test_each_route_takes_its_scope_and_no_other(guarded, method, path, scope):
    assert ask(guarded, None, method, path).status_code == 401
    assert ask(guarded, "main-token-2", method, path).status_code == 401
    assert ask(guarded, "main-token-1", method, path, data=b"{}").status_code not in (401, 403)
    for name, allowed in TOKENS.items():
        answer = ask(guarded, f"{name}-token", method, path, data=b"{}")
        if allowed == scope:
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert answer.status_code == 403 and answer.json()["code"] == "EIDER_FORBIDDEN"
            assert f'"{name}" lacks the scope {scope}' in answer.json()["detail"] and allowed in answer.json()["detail"]


@pytest.mark.parametrize("path, scopes", [("/api/v1/events", {"ingest", "spend"}), ("/api/v1/spend/check", {"spend", "read"})])
def test_some_routes_take_one_of_two(guarded, path, scopes):
    for name, allowed in TOKENS.items():
        answer = ask(guarded, f"{name}-token", "POST", path, data=b"{}")
        assert (answer.status_code == 403) == (allowed not in scopes), answer.text
    assert "spend" in ask(guarded, "operator-token", "POST", path, data=b"{}").json()["detail"]


def test_every_documented_route_needs_a_scope_or_is_open(guarded):
    spec = guarded.get("/openapi.json").json()
    open_paths = {"/ping", "/health", "/health/ready", "/health/live", "/openapi.json", "/docs", "/"}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            assert bool(operation.get("x-scopes")) != (path in open_paths), (method, path)


def test_no_token_is_logged(guarded):
    for query in ("access_token=viewer-token", "access%5Ftoken=viewer-token", "%61ccess_token=viewer-token&a=b"):
        assert guarded.get("/api/metrics/current?" + query).status_code == 200
    assert guarded.get("/api/metrics/current?access_token=main-token-1").status_code == 200
    text = eider.wait_for(lambda: (log := guarded.log()).count("/api/metrics/current?") >= 4 and log, what="the access log")
    assert "viewer-token" not in text and "main-token-1" not in text


def test_tokens_are_enough_off_loopback_and_bad_ones_are_refused(tmp_path):
    done = eider.run("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path / "d"), "--set",
                     "server.tokens=ci:reed:12345678", timeout=20)
    assert done.returncode == 2 and 'the scope "reed" is unknown' in done.stderr and "12345678" not in done.stderr
    done = eider.run("config", "--json", env={"EIDER_TOKENS": "ci:read:12345678"}, cwd=str(tmp_path))
    assert done.returncode == 0 and "12345678" not in done.stdout and "ci:read:****" in done.stdout
