#!/usr/bin/env python3
"""A paid API for tests: a real HTTP/1.1 server on a free loopback port that stands for Birdeye,
counts what it served and what it billed, and misbehaves on order.

    from upstream import Upstream

    with Upstream(keys=["k1", "k2"]) as up:        # keys=None: any key or none is fine
        requests.get(up.url + "/defi/price", params={"address": "So1"}, headers={"X-API-KEY": "k1"})
        assert up.stats()["credits"] == 60
        up.faults(status=429, count=3, retry_after=1)   # the next three calls
        up.faults(kind="disconnect", ratio=0.1, seed=7) # every call, one in ten, repeatable

Upstream(tls=an ssl.SSLContext) speaks TLS. start()/stop() do the same without `with`; up.calls() lists every call; up.reset() forgets calls,
counters and faults. From other languages and for other processes:

    python3 tests/lib/upstream.py [--port N] [--key K]... [--latency-ms N]
        prints one line "http://127.0.0.1:PORT" when it is ready, ends at SIGTERM or SIGINT
    GET  /__stats    {"requests", "ok", "failed", "credits", "in_flight", "in_flight_max",
                      "connections", "faults", "by_path", "by_status", "by_key", "credits_by_key"}
    GET  /__calls    [{"n", "method", "path", "query", "key", "status", "credits", "candles",
                      "fault", "headers"}], oldest first; at most calls_max are kept
    POST /__faults   the arguments of Upstream.faults as JSON, one object or an array of them
    POST /__reset
    (`/__...` are neither counted, nor billed, nor broken.)

What it serves, all GET, JSON as the original's clients expect it: /defi/v3/ohlcv,
/defi/historical_price_unix, /defi/history_price, /defi/v3/search, /defi/v3/token/meta-data/single,
/defi/token_creation_info, /defi/price (also /defi/ohlcv, an older path). A missing or malformed
parameter is 400, a key that is not in `keys` 401. Values depend only on the address and the time,
so two servers agree. Free of charge, any method: /echo (what was asked, as JSON), /bytes/N,
/status/N, /headers/NAME/VALUE (answers with that header).

The bill, as prices/birdeye.yaml has it: an OHLCV call costs 120 credits when it asks for
candles_full (5000) candles and 60 below, every other /defi call 60, a call that fails 0. Candles are
counted from the parameters: (time_to - time_from) / type, at most 5000. Pass price=function(path,
candles, status) -> int to bill differently.

Faults, in the order of their coming; the first that applies is used up by one:
    status=N         answer with N (429, 500, 503, ...); retry_after: that header (text or seconds)
    kind="timeout"   hold the answer back for hold_s seconds (60), then close without one
    kind="disconnect"    close the connection without an answer
    kind="reset"         the same with a TCP reset
    kind="truncate"      promise the whole body, send half, close
    kind="garbage"       answer with bytes that are no HTTP
    kind="delay"         answer properly, delay_ms late
    count=N          for the next N calls (default 1); ratio=0..1 with seed=N: for each call by
                     lot, until reset() or clear_faults() (count limits it if given)
    path="/defi/..." only calls whose path starts with it; key="k1" only calls with that key
    billed=True      the work was done: the call is billed though it fails (for timeout,
                     disconnect, reset and truncate; what a provider may well do)
"""
import argparse
import hashlib
import json
import random
import signal
import socket
import struct
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CANDLES_MAX = 5000
SECONDS = {"1s": 1, "15s": 15, "30s": 30, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800,
           "1H": 3600, "2H": 7200, "4H": 14400, "6H": 21600, "8H": 28800, "12H": 43200,
           "1D": 86400, "3D": 259200, "1W": 604800, "1M": 2592000}
KINDS = ("status", "timeout", "disconnect", "reset", "truncate", "garbage", "delay")
FREE = ("/echo", "/bytes/", "/status/", "/headers/")


def birdeye_price(path, candles, status, candles_full=CANDLES_MAX):
    """The bill of one call in credits."""
    if not 200 <= status < 300 or path.startswith(FREE):
        return 0
    return 120 if "/ohlcv" in path and candles >= candles_full else 60


class BadRequest(Exception):
    """The caller's parameters are wrong; the text goes into the answer."""


class Fault:
    def __init__(self, kind="status", status=None, count=None, ratio=None, seed=0, path=None,
                 key=None, retry_after=None, hold_s=60, delay_ms=0, billed=False):
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        if (kind == "status") != (status is not None):
            raise ValueError("give status=N, or a kind other than 'status'")
        self.kind, self.status, self.path, self.key = kind, status, path, key
        self.left = count if count is not None else (None if ratio is not None else 1)
        self.ratio, self.lot = ratio, random.Random(seed)
        self.retry_after, self.hold_s, self.delay_ms = retry_after, hold_s, delay_ms
        self.billed = billed

    def applies(self, path, key):
        if self.left == 0 or (self.path and not path.startswith(self.path)):
            return False
        if self.key is not None and self.key != key:
            return False
        if self.ratio is not None and self.lot.random() >= self.ratio:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Upstream:
    def __init__(self, keys=None, port=0, price=None, candles_full=CANDLES_MAX, latency_ms=0,
                 calls_max=100000, tls=None):
        self.keys = set(keys) if keys else None
        self.tls = tls
        self.port = port
        self.latency_ms = latency_ms
        self.calls_max = calls_max
        self.price = price or (lambda path, candles, status:
                               birdeye_price(path, candles, status, candles_full))
        self.lock = threading.Lock()
        self.held = threading.Event()  # set when stopping, ends what is held back
        self.server = None
        self.thread = None
        self._forget()

    def _forget(self):
        self._calls, self._faults = [], []
        self._counts = {"requests": 0, "ok": 0, "failed": 0, "credits": 0, "in_flight": 0,
                        "in_flight_max": 0, "connections": 0, "faults": 0}
        self._tables = {"by_path": {}, "by_status": {}, "by_key": {}, "credits_by_key": {}}

    def start(self):
        self.held.clear()
        self.server = _Server(("127.0.0.1", self.port), _Handler)
        self.server.upstream = self
        if self.tls:
            # The handshake is made by the connection's own thread, at its first read.
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True,
                                                      do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def stop(self):
        if self.server:
            self.held.set()
            self.server.shutdown()
            self.server.server_close()
            self.server.close_connections()
            self.thread.join(10)
            self.server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def stats(self):
        with self.lock:
            return {**self._counts, **{name: dict(table) for name, table in self._tables.items()}}

    def calls(self):
        with self.lock:
            return [dict(call) for call in self._calls]

    def faults(self, **order):
        fault = Fault(**order)
        with self.lock:
            self._faults.append(fault)

    def clear_faults(self):
        with self.lock:
            self._faults.clear()

    def reset(self):
        with self.lock:
            in_flight = self._counts["in_flight"]
            self._forget()
            self._counts["in_flight"] = in_flight

    # ---- for the handler ----

    def begin(self, path, key):
        """Counts a call in; returns the fault it shall suffer, or None."""
        with self.lock:
            counts = self._counts
            counts["requests"] += 1
            counts["in_flight"] += 1
            counts["in_flight_max"] = max(counts["in_flight_max"], counts["in_flight"])
            fault = next((f for f in self._faults if f.applies(path, key)), None)
            counts["faults"] += fault is not None
            self._faults = [f for f in self._faults if f.left != 0]
            return fault

    def end(self, call, ok):
        with self.lock:
            counts, tables = self._counts, self._tables
            counts["in_flight"] -= 1
            counts["ok" if ok else "failed"] += 1
            counts["credits"] += call["credits"]
            key = call["key"] or ""
            for table, name, more in (("by_path", call["path"], 1), ("by_key", key, 1),
                                      ("by_status", str(call["status"]), 1),
                                      ("credits_by_key", key, call["credits"])):
                tables[table][name] = tables[table].get(name, 0) + more
            call["n"] = counts["requests"]
            self._calls.append(call)
            del self._calls[:-self.calls_max]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    upstream = None

    def __init__(self, *args):
        self.open_sockets = set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.upstream.lock:
            self.open_sockets.add(request)
            self.upstream._counts["connections"] += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.upstream.lock:
            self.open_sockets.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        with self.upstream.lock:
            left = list(self.open_sockets)
        for sock in left:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # clients that go away are no news
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment an answer
    timeout = 300

    def log_message(self, *unused):
        pass

    def _serve(self):
        up = self.server.upstream
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if url.path.startswith("/__"):
            self._control(up, url.path, body)
            return
        key = self.headers.get("X-API-KEY")
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        fault = up.begin(url.path, key)
        call = {"method": self.command, "path": url.path, "query": query, "key": key, "credits": 0,
                "status": 0, "candles": 0, "fault": fault.kind if fault else None,
                "headers": {name.lower(): value for name, value in self.headers.items()}}
        ok = False
        try:
            ok = self._answer(up, call, fault, body)
        finally:
            up.end(call, ok)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def _answer(self, up, call, fault, body):
        """Answers and fills call's status and credits; true for a 2xx that was sent whole."""
        kind = fault.kind if fault else None
        if up.latency_ms:
            up.held.wait(up.latency_ms / 1000)
        if kind == "delay":
            up.held.wait(fault.delay_ms / 1000)
        if kind == "status":
            status, extra, content = fault.status, {}, {"success": False, "message": f"ordered {fault.status}"}
            if fault.retry_after is not None:
                extra["Retry-After"] = str(fault.retry_after)
        else:
            status, extra, content = self._content(up, call, body)
        cost = up.price(call["path"], call["candles"], status)
        if kind in ("timeout", "disconnect", "reset", "truncate", "garbage"):
            call["credits"] = cost if fault.billed else 0
            self._break(up, fault, content)
            return False
        # What is counted before it is sent is there when the client asks for it.
        call["status"], call["credits"] = status, cost
        self._send(status, content, extra)
        return 200 <= status < 300

    def _break(self, up, fault, content):
        self.close_connection = True
        if fault.kind == "timeout":
            up.held.wait(fault.hold_s)
        elif fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif fault.kind == "truncate":
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + 1))
            self.end_headers()
            self.wfile.write(data[:len(data) // 2])
        elif fault.kind == "garbage":
            self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")

    def _send(self, status, content, extra):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        if "Content-Type" not in extra:
            self.send_header("Content-Type", "application/json")
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(data)

    def _control(self, up, path, body):
        try:
            if path == "/__stats":
                answer = up.stats()
            elif path == "/__calls":
                answer = up.calls()
            elif path == "/__reset":
                answer = up.reset()
            elif path == "/__faults":
                orders = json.loads(body)
                answer = [up.faults(**order) for order in (orders if isinstance(orders, list) else [orders])]
            else:
                self._send(404, {"detail": f"no {path} here"}, {})
                return
            self._send(200, answer, {})
        except (ValueError, TypeError) as problem:
            self._send(400, {"detail": str(problem)}, {})

    def _content(self, up, call, body):
        path, query = call["path"], call["query"]
        if path == "/echo":
            return 200, {}, {"method": call["method"], "path": path, "query": query,
                             "headers": call["headers"], "body": body.decode("utf-8", "replace")}
        if path.startswith("/bytes/"):
            return 200, {"Content-Type": "application/octet-stream"}, b"x" * int(path.split("/")[2])
        if path.startswith("/status/"):
            return int(path.split("/")[2]), {}, {"success": False}
        if path.startswith("/headers/"):
            name, value = path.split("/")[2:4]
            return 200, {name: urllib.parse.unquote(value)}, {}
        maker = ROUTES.get(path)
        if not maker:
            return 404, {}, {"success": False, "message": "Not found"}
        if up.keys is not None and call["key"] not in up.keys:
            return 401, {}, {"success": False, "message": "Unauthorized"}
        try:
            data, call["candles"] = maker(query)
            return 200, {}, {"success": True, "data": data}
        except BadRequest as problem:
            return 400, {}, {"success": False, "message": str(problem)}


# ---- the data: a function of address and time ----

def _need(query, name):
    if not query.get(name):
        raise BadRequest(f"{name} is missing")
    return query[name]


def _unix(query, name):
    try:
        return int(_need(query, name))
    except ValueError:
        raise BadRequest(f"{name} is {query[name]!r}; expected seconds since 1970") from None


def price_of(address, unix):
    """The price of a token at a second; between 1 and 101."""
    seed = int.from_bytes(hashlib.sha256(address.encode()).digest()[:4], "big")
    return round(1 + (seed % 10000) / 100 + ((seed + unix // 60 * 2654435761) % 1000) / 1000, 6)


def _range(query):
    step = SECONDS.get(_need(query, "type"))
    if not step:
        raise BadRequest(f"type is {query['type']!r}; expected one of {', '.join(SECONDS)}")
    begin, end = _unix(query, "time_from"), _unix(query, "time_to")
    if end < begin:
        raise BadRequest("time_to is before time_from")
    count = min((end - begin) // step, CANDLES_MAX)
    return step, [begin - begin % step + i * step for i in range(count)]


def _ohlcv(query):
    address = _need(query, "address")
    step, times = _range(query)
    items = []
    for t in times:
        o, c = price_of(address, t), price_of(address, t + step)
        items.append({"unix_time": t, "o": o, "h": max(o, c) + 0.5, "l": min(o, c) - 0.5, "c": c,
                      "v": 1000.0 + t % 97, "v_usd": 2000.0 + t % 89, "address": address,
                      "type": query["type"], "currency": query.get("currency", "usd")})
    return {"items": items}, len(items)


def _historical_price(query):
    address, unix = _need(query, "address"), _unix(query, "unixtime")
    return {"value": price_of(address, unix), "updateUnixTime": unix, "priceChange24h": 0.5}, 0


def _history_price(query):
    address = _need(query, "address")
    _step, times = _range(query)
    return {"items": [{"unixTime": t, "value": price_of(address, t)} for t in times]}, 0


def _search(query):
    word = _need(query, "keyword")
    return {"items": [{"type": "token", "result": [
        {"name": word.title(), "symbol": word.upper()[:10], "address": f"{word}1111", "network": "solana",
         "decimals": 9, "price": price_of(word, 0)}]}]}, 0


def _metadata(query):
    address = _need(query, "address")
    return {"address": address, "symbol": address[:4].upper(), "name": f"Token {address}",
            "decimals": 9, "logo_uri": None, "extensions": {}}, 0


def _creation(query):
    address = _need(query, "address")
    return {"txHash": hashlib.sha256(address.encode()).hexdigest(), "slot": 250000000,
            "tokenAddress": address, "decimals": 9, "owner": "owner1111",
            "blockUnixTime": 1700000000, "blockHumanTime": "2023-11-14T22:13:20.000Z"}, 0


def _price(query):
    address = _need(query, "address")
    return {"value": price_of(address, 1700000000), "updateUnixTime": 1700000000,
            "updateHumanTime": "2023-11-14T22:13:20"}, 0


ROUTES = {"/defi/v3/ohlcv": _ohlcv, "/defi/ohlcv": _ohlcv,
          "/defi/historical_price_unix": _historical_price, "/defi/history_price": _history_price,
          "/defi/v3/search": _search, "/defi/v3/token/meta-data/single": _metadata,
          "/defi/token_creation_info": _creation, "/defi/price": _price}


def main():
    parser = argparse.ArgumentParser(description="a paid API for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", action="append")
    parser.add_argument("--latency-ms", type=int, default=0)
    options = parser.parse_args()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *unused: done.set())
    with Upstream(keys=options.key, port=options.port, latency_ms=options.latency_ms) as up:
        print(up.url, flush=True)
        done.wait()


if __name__ == "__main__":
    main()
