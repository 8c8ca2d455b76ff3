"""Clients that know what every answer must be: each row has one writer, which remembers all values that it sent, the LSN
they were acknowledged with, and what was not answered. So any answer, of any path and at any LSN, can be judged.

A value without an answer may be there or not. The judgement behind a restart says which; from then on it is certain.
"""
import datetime
import http.client
import json
import random
import threading
import urllib.parse

NEVER = 1 << 62  # an LSN that is not reached
DAY_US, HOUR_US = 86400 * 10**6, 3600 * 10**6
DAYS = 6
KINDS = ("market_data", "trades", "samples", "events")
EPOCH = datetime.datetime(1970, 1, 1)
TIMEOUT_S = 120
REFUSED = (429, 503, 504)  # a reader asks again; 504 is a machine that is slower than storage.duckdb.query_timeout


class Gone(Exception):
    """The server went away before the answer."""


def iso(us):
    return (EPOCH + datetime.timedelta(microseconds=us)).isoformat()


def micros(text):
    return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)


class Version:
    """One value of a row. `low` < its LSN <= `high`; `sure` says whether it is in the log at all."""

    def __init__(self, value, low):
        self.value, self.low, self.high, self.sure = value, low, NEVER, False


class Book:
    """The rows of one writer and kind."""

    def __init__(self):
        self.rows = {}

    def send(self, values, low):
        sent = {key: Version(value, low) for key, value in values.items()}
        for key, version in sent.items():
            self.rows.setdefault(key, []).append(version)
        return sent

    @staticmethod
    def acknowledge(sent, lsn, exact=True):
        for version in sent.values():
            version.low, version.high, version.sure = lsn - 1 if exact else version.low, lsn, True

    def forget(self, sent):
        for key, version in sent.items():
            self.rows[key].remove(version)

    def at(self, key, lsn=NEVER):
        """The values that may be there behind an LSN; None stands for no row."""
        may = {None}
        for version in self.rows.get(key, ()):
            if version.sure and version.high <= lsn:
                may = {version.value}
            elif version.low < lsn:
                may.add(version.value)
        return may

    def keys(self):
        return [key for key, versions in self.rows.items() if versions]

    def settle(self, key, found, lsn):
        """What is not certain behind the last certain version is so now."""
        versions = self.rows[key]
        last = max((i for i, version in enumerate(versions) if version.sure), default=-1)
        if last == len(versions) - 1:
            return
        kept = versions[:last + 1]
        for version in versions[last + 1:]:
            if version.value == found:
                version.high, version.sure = lsn, True
                kept.append(version)
        self.rows[key] = kept


class Side:
    """One database of the server, with its writers' books."""

    def __init__(self, name, writers):
        self.name, self.prefix = name, f"/db/{name}" if name else ""
        self.lsn = 0            # the highest that was acknowledged
        self.books = [{kind: Book() for kind in KINDS} for _ in range(writers)]
        self.reservations = [{} for _ in range(writers)]
        self.memory = [{"counter": 0, "etags": {}, "again": []} for _ in range(writers)]
        self.backups = {}       # id: LSN of those that were reported complete
        self.complaints = []
        self.counts = {}
        self.lock = threading.Lock()

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def complain(self, text):
        with self.lock:
            self.complaints.append(f"{self.name or 'default'}: {text}"[:700])

    def saw(self, lsn):
        with self.lock:
            self.lsn = max(self.lsn, lsn)


class Client:
    """One connection to one side."""

    def __init__(self, side, port):
        self.side = side
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def ask(self, method, path, body=None, headers=None, **params):
        """Status, body (parsed when it is JSON), header fields."""
        query = "?" + urllib.parse.urlencode(params) if params else ""
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        try:
            self.connection.request(method, self.side.prefix + path + query, text, headers or {})
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            self.connection.close()
            raise Gone(repr(problem)) from None
        return answer.status, json.loads(data) if data[:1] in (b"{", b"[") else data, answer.headers

    def get(self, path, **params):
        """The answer of a read; None when it is refused, as while the store is made anew."""
        status, data, _ = self.ask("GET", path, **params)
        if status in REFUSED:
            self.side.count("reads refused")
            return None
        if status != 200:
            self.side.complain(f"GET {path} {params}: {status} {data}")
            return None
        return data

    def sql(self, text):
        status, data, _ = self.ask("POST", "/api/v1/sql", {"sql": text})
        if status in REFUSED:
            self.side.count("reads refused")
            return None
        if status != 200:
            self.side.complain(f"{text}: {status} {data}")
            return None
        return data["rows"]


class Rows:
    """How the rows of a writer are written, and read by each path. A path is a function of the client, the writer's
    number, and a range of microseconds; it gives [(key, value)], or None for no answer."""

    SQL = {
        "market_data": "SELECT symbol, epoch_us(timestamp), last_price, volume FROM market_data",
        "trades": "SELECT symbol, trade_id, epoch_us(timestamp), price FROM trades",
        "samples": "SELECT symbol, metric_name, epoch_us(timestamp), value FROM trading_metrics WHERE symbol LIKE 'W%'",
        "events": "SELECT run_id, id, epoch_us(timestamp), CAST(credits_cost * 1000000 AS BIGINT) FROM api_event_log WHERE run_id LIKE 'W%'",
    }

    @staticmethod
    def pair(kind, row):
        """(symbol, key, value) of a row of SQL."""
        symbol, *rest = row
        if kind == "market_data":
            return symbol, rest[0], (rest[1], rest[2])
        if kind == "samples":
            return symbol, (rest[0], rest[1]), rest[2]
        return symbol, rest[0], (rest[1], rest[2])

    @staticmethod
    def time_of(kind, key, value):
        return key if kind == "market_data" else key[1] if kind == "samples" else value[0]

    @staticmethod
    def by_sql(kind, client, number, low, high):
        column = "run_id" if kind == "events" else "symbol"
        glue = " AND " if " WHERE " in Rows.SQL[kind] else " WHERE "
        rows = client.sql(f"{Rows.SQL[kind]}{glue}{column} = 'W{number}' AND timestamp >= '{iso(low)}'::TIMESTAMP AND timestamp < '{iso(high)}'::TIMESTAMP")
        return None if rows is None else [Rows.pair(kind, row)[1:] for row in rows]

    @staticmethod
    def samples_by_points(client, number, low, high):
        """The hot cache, when it has them: asked by series, as it wants."""
        found = []
        for name in ("m0", "m1", "m2"):
            data = client.get("/api/v1/metrics", name=name, symbol=f"W{number}", limit=0, precision="us",
                              **{"from": iso(low), "to": iso(high - 1)})
            if data is None:
                return None
            found += [((point["Name"], point["Timestamp"]), point["Value"]) for point in data["metrics"]]
        return found

    @staticmethod
    def trades_by_list(client, number, low, high):
        found, total = [], 1
        while len(found) < total:
            data = client.get("/api/trades/", symbol=f"W{number}", start_time=iso(low), end_time=iso(high - 1), limit=1000, offset=len(found))
            if data is None:
                return None
            total = data["total"]
            found += [(trade["trade_id"], (micros(trade["timestamp"]), trade["price"])) for trade in data["trades"]]
            if not data["trades"]:
                break
        return found

    @staticmethod
    def events_by_list(client, number, low, high):
        found, more = [], {}
        while True:
            data = client.get("/api/v1/events", run_id=f"W{number}", limit=1000, **{"from": iso(low), "to": iso(high - 1)}, **more)
            if data is None:
                return None
            found += [(event["id"], (micros(event["timestamp"]), round(event["credits_cost"] * 10**6))) for event in data["events"]]
            if data["next_cursor"] is None:
                return found
            more = {"cursor": data["next_cursor"]}


PATHS = {
    "market_data": [("sql", lambda *a: Rows.by_sql("market_data", *a))],
    "trades": [("sql", lambda *a: Rows.by_sql("trades", *a)), ("list", Rows.trades_by_list)],
    "samples": [("sql", lambda *a: Rows.by_sql("samples", *a)), ("points", Rows.samples_by_points)],
    "events": [("sql", lambda *a: Rows.by_sql("events", *a)), ("list", Rows.events_by_list)],
}


def compare(book, kind, found, low, high, lsn=NEVER):
    """What is wrong with the rows that a path gave for a range of time."""
    bad, seen = [], {}
    for key, value in found:
        if key in seen:
            bad.append(f"twice: {key} {value} {seen[key]}")
        seen[key] = value
        if value not in book.at(key, lsn):
            bad.append(f"wrong: {key} {value}, due {book.at(key, lsn)}")
    for key in book.keys():
        may = book.at(key, lsn)
        if key not in seen and None not in may and all(low <= Rows.time_of(kind, key, value) < high for value in may):
            bad.append(f"lost: {key}, due {may}")
    return bad


def buckets_of(rows, low, width):
    """The history of market data as it must be: {bucket: (average, high, low's volume growth)} of {time: (price, volume)}."""
    groups = {}
    for ts in sorted(rows):
        groups.setdefault(ts // width * width, []).append(ts)
    result, last = {}, None
    back = max(width, 300 * 10**6)
    for bucket, times in sorted(groups.items()):
        if times[-1] < low:
            last = rows[times[-1]][1] if times[-1] >= low - back else None
            continue
        before = rows[times[0]][1] if last is None else last
        prices = [rows[ts][0] for ts in times]
        last = rows[times[-1]][1]
        result[bucket] = (sum(prices) / len(prices), max(prices), last - before)
    return result


def certain(book):
    """{key: value} of what is there; None when something is not certain."""
    rows = {}
    for key in book.keys():
        value, *more = book.at(key)
        if more:
            return None
        if value is not None:
            rows[key] = value
    return rows


WIDTHS = {"1m": 60 * 10**6, "5m": 300 * 10**6, "1h": HOUR_US, "1d": DAY_US}


def check_history(client, number, book, low, high, interval):
    """Asks for the history in buckets, with the entity tag of the answer before. `low` is a day's begin."""
    side, etags = client.side, client.side.memory[number]["etags"]
    question = dict(metric_types="market_data", symbols=f"W{number}", start_time=iso(low), end_time=iso(high - 1), interval=interval)
    kept = etags.get((low, high, interval))
    status, data, headers = client.ask("GET", "/api/metrics/history", headers={"If-None-Match": kept[0]} if kept else {}, **question)
    if status in REFUSED:
        return side.count("reads refused")
    if status == 304 and kept:
        data = kept[1]
        side.count("answers by ETag")
    elif status != 200:
        return side.complain(f"history {question}: {status} {data}")
    else:
        etags[low, high, interval] = (headers["ETag"], data)
    rows = certain(book)
    if rows is None:
        return None
    side.count("histories compared")
    due = buckets_of({ts: value for ts, value in rows.items() if ts < high}, low, WIDTHS[interval])
    found = {micros(row["timestamp"]): (row["avg_price"], row["high"], row["total_volume"]) for row in data["data"]}
    bad = [(iso(ts), found.get(ts), due.get(ts)) for ts in sorted({*found, *due}) if ts not in found or ts not in due
           or abs(found[ts][0] - due[ts][0]) > 1e-6 * abs(due[ts][0]) or found[ts][1:] != due[ts][1:]]
    if bad or len(found) != len(data["data"]):
        side.complain(f"history {interval} of W{number} from {iso(low)}, status {status}: {len(bad)} buckets (found, due), e.g. {bad[:3]}")
    return None


class Writer:
    """Writes its rows, waits until half of them are applied, and reads these back by every path; until the server is gone or
    `stop` is set."""

    def __init__(self, side, number, port, seed, start_us):
        self.side, self.number, self.rng = side, number, random.Random(seed)
        self.applied, self.steps = 0.5, 0
        self.client = Client(side, port)
        self.books, self.memory = side.books[number], side.memory[number]
        self.first_day = start_us // DAY_US * DAY_US - (DAYS - 1) * DAY_US
        self.newest = start_us - 60 * 10**6

    def next(self):
        self.memory["counter"] += 1
        return self.memory["counter"]

    def day(self):
        return self.first_day + self.rng.randrange(DAYS) * DAY_US

    def time(self, step_us):
        ts = self.day() + self.rng.randrange(DAY_US // step_us) * step_us
        return ts if ts <= self.newest else ts - DAY_US

    # ---- writes ----

    def send(self, kind, values, path, body, **params):
        """One request of rows; True when it was acknowledged."""
        book, low = self.books[kind], self.side.lsn
        sent = book.send(values, low)
        key = None
        headers = {}
        if kind == "samples" and self.rng.random() < 0.5:
            key = f"{self.side.name}-{self.number}-{self.next()}"
            headers["Idempotency-Key"] = key
        try:
            answered = self.note(book, sent, *self.client.ask("POST", path, body, headers, **params))
        except Gone:
            if key:
                self.memory["again"].append((sent, path, body, headers, params))
            raise
        return answered

    def note(self, book, sent, status, data, headers, exact=True):
        if status in (200, 204):
            lsn = int(headers["X-Eider-Lsn"]) if status == 204 else data["lsn"]
            if lsn == 0 and not exact:
                lsn = self.side.lsn  # a start forgets it: it was durable at the newest that has been seen since
            book.acknowledge(sent, lsn, exact)
            self.side.saw(lsn)
            self.side.count("acknowledged")
            return True
        self.side.count("refused")
        if status == 429 or status == 503 and data["code"] == "EIDER_NO_SPACE":
            book.forget(sent)  # nothing was written
        elif status != 503:
            self.side.complain(f"a write was answered {status} {data}")
        return False

    def send_again(self):
        """What the last kill left without an answer, with the same idempotency key: it is there once."""
        for sent, path, body, headers, params in self.memory["again"]:
            status, data, fields = self.client.ask("POST", path, body, headers, **params)
            # It may have been there at any time since it was sent first; the judgement may have found that it was not.
            book = self.books["samples"]
            for key, version in sent.items():
                if version not in book.rows[key]:
                    book.rows[key].append(version)
            if status in (429, 503):
                continue
            replayed = fields.get("Idempotent-Replayed") == "true"
            self.note(book, sent, status, data, fields, exact=not replayed)
            self.side.count("sent again and found" if replayed else "sent again and new")
        self.memory["again"] = []

    def write_market_data(self, ack):
        values = {}
        for _ in range(self.rng.choice([1, 1, 5, 30])):
            ts = self.time(7 * 60 * 10**6)
            values[ts] = (float(self.next()), ts // (60 * 10**6))
        rows = [{"timestamp": ts, "symbol": f"W{self.number}", "last_price": price, "volume": volume} for ts, (price, volume) in values.items()]
        return self.send("market_data", values, "/api/v1/ingest/market_data", rows, **ack)

    def write_trades(self, ack):
        known, values = self.books["trades"].keys(), {}
        for _ in range(self.rng.choice([1, 1, 5, 30])):
            n = self.next()
            # One in four is written again: at another price, and at another time, which may be of another day.
            again = known and self.rng.random() < 0.25
            values[self.rng.choice(known) if again else f"w{self.number}-{n}"] = (self.time(1000), float(n))
        rows = [{"trade_id": key, "timestamp": ts, "symbol": f"W{self.number}", "side": "buy", "quantity": 1, "price": price}
                for key, (ts, price) in values.items()]
        return self.send("trades", values, "/api/v1/ingest/trades", rows, **ack)

    def write_samples(self, ack):
        values = {}
        for _ in range(self.rng.choice([1, 10, 60])):
            n = self.next()
            values[f"m{n % 3}", self.time(1000) // 1000 * 1000 + n % 1000] = float(n)
        values = {key: value for key, value in values.items() if not self.books["samples"].rows.get(key)}
        body = "\n".join(f"{name},symbol=W{self.number} value={value} {ts}" for (name, ts), value in values.items())
        return not values or self.send("samples", values, "/write", body, precision="us", **ack)

    def write_events(self, ack):
        values = {}
        for _ in range(self.rng.choice([1, 1, 5, 20])):
            n = self.next()
            values[f"e{self.number}-{n}"] = (self.time(1000), n % 1000)
        rows = [{"id": key, "timestamp": iso(ts), "api_name": "paid", "endpoint": "/x", "status_code": 200, "run_id": f"W{self.number}",
                 "credits_cost": f"0.{credits:06}"} for key, (ts, credits) in values.items()]
        return self.send("events", values, "/api/v1/events", rows, **ack)

    def write_noise(self, ack):
        """A table that only retention cares for."""
        del ack
        row = {"timestamp": self.time(1000), "strategy_name": f"W{self.number}", "pnl": 1}
        self.client.ask("POST", "/api/v1/ingest/strategy_metrics", row)
        return False

    def step_reservation(self):
        """The next step of one reservation: the same as before if that was not answered."""
        mine = self.side.reservations[self.number]
        unfinished = [one for one in mine.values() if not one["closed"]]
        if len(unfinished) < 5 or len(unfinished) < 20 and self.rng.random() < 0.5:
            n = self.next()
            one = mine[f"r{self.number}-{n}"] = {"id": f"r{self.number}-{n}", "reserved": False, "closing": None, "closed": False, "credits": n % 1000}
        else:
            one = self.rng.choice(unfinished)
        body = {"reservation_id": one["id"]}
        if not one["reserved"]:
            step = "reserve"
            body.update(api_name="paid", max_credits="0.001", ttl_ms=24 * 3600 * 1000)
        else:
            step = one["closing"] = one["closing"] or self.rng.choice(["commit", "commit", "release"])
            if step == "commit":
                body.update(status_code=200, credits=f"0.{one['credits']:06}", event_id="c" + one["id"])
        status, data, _ = self.client.ask("POST", "/api/v1/spend/" + step, body)
        if status == 200:
            one["reserved"], one["closed"] = True, step != "reserve"
            self.side.count("acknowledged")
        elif status not in (429, 503):
            self.side.complain(f"{step} {body}: {status} {data}")

    # ---- reads ----

    def read(self, kind):
        """Its rows of a day, or of all days, by one path."""
        low = self.day()
        low, high = self.rng.choice([(low, low + DAY_US), (low, low + DAY_US), (self.first_day - DAY_US, self.first_day + DAYS * DAY_US)])
        if kind == "market_data" and self.rng.random() < 0.6:
            check_history(self.client, self.number, self.books[kind], low, high, self.rng.choice(list(WIDTHS)))
            return
        name, path = self.rng.choice(PATHS[kind])
        found = path(self.client, self.number, low, high)
        if found is None:
            return
        self.side.count(f"{kind} by {name}")
        bad = compare(self.books[kind], kind, found, low, high)
        if bad:
            self.side.complain(f"{kind} by {name} of W{self.number} from {iso(low)} to {iso(high)}: {len(bad)}, e.g. {bad[:3]}")

    def read_latest(self):
        data = self.client.get("/api/v1/latest", metric_name="m1")
        rows = certain(self.books["samples"])
        if data is None or rows is None:
            return
        due = max(((ts, value) for (name, ts), value in rows.items() if name == "m1"), default=None)
        found = [(micros(point["timestamp"]), point["value"]) for point in data["points"] if point["symbol"] == f"W{self.number}"]
        if found != ([due] if due else []):
            self.side.complain(f"latest of W{self.number}: {found}, due {due}")
        self.side.count("latest")

    def run(self, stop):
        writes = {"market_data": self.write_market_data, "trades": self.write_trades, "samples": self.write_samples,
                  "events": self.write_events, "noise": self.write_noise}
        try:
            self.send_again()
            while not stop.is_set():
                self.steps += 1
                if self.rng.random() < 0.15:
                    self.step_reservation()
                    continue
                kind = self.rng.choice(["market_data", "trades", "samples", "events", "noise"])
                applied = self.rng.random() < self.applied
                written = writes[kind]({"ack": "applied"} if applied else {})
                if written and applied:
                    self.read(kind)
                    if kind == "samples" and self.rng.random() < 0.5:
                        self.read_latest()
        except Gone:
            pass
        except Exception as problem:  # a fault of the test must be seen
            self.side.complain(f"writer {self.number}: {problem!r}")
            raise
        finally:
            self.client.connection.close()
