"""A client that remembers what was acknowledged, and says what a store lacks or has too much of.

Five kinds of writes: trades (by JSON, unique ids), samples (by line protocol, unique timestamps, where a
record applied twice shows), market data (replace by key, where the newest acknowledged value must win), entries of
the event log (sent twice now and then), and reservations, which live across kills: what was not answered is sent
again with the same ids, what was answered is committed or released later.
"""
import http.client
import json
import random
import threading


class Oracle:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.acked_trades = {}
        self.sent_trades = {}
        self.acked_samples = set()
        self.sent_samples = set()
        self.quotes = {}  # key: list of values in the order sent; acknowledged ones are marked
        self.events = {}       # id: credits, in millionths, of every entry that was sent
        self.acked_events = set()
        self.reservations = {}  # id: {"id", "reserved", "closing", "closed"}; kept when closed
        self.open = {}          # owner: those that are not closed
        self.broken = []        # answers that contradict earlier ones
        self.counter = 0
        self.acks = 0
        self.refusals = 0

    def numbers(self, count):
        with self.lock:
            first = self.counter
            self.counter += count
        return range(first, first + count)

    # ---- one request of each kind; raises when the connection breaks ----

    @staticmethod
    def _post(connection, path, body):
        return Oracle._ask(connection, path, body)[0]

    @staticmethod
    def _ask(connection, path, body):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, data

    def write_trades(self, connection, rng):
        rows = [{"trade_id": f"t{n}", "timestamp": 1_700_000_000_000_000 + n, "symbol": f"S{n % 7}", "side": "buy",
                 "quantity": 1, "price": n % 1000} for n in self.numbers(rng.choice([1, 1, 3, 50]))]
        with self.lock:
            self.sent_trades.update((r["trade_id"], r["price"]) for r in rows)
        status = self._post(connection, "/api/v1/ingest/trades", json.dumps(rows))
        self._note(status, lambda: self.acked_trades.update((r["trade_id"], r["price"]) for r in rows))

    def write_samples(self, connection, rng):
        numbers = list(self.numbers(rng.choice([1, 10, 200])))
        keys = [(f"m{n % 11}", 1_700_000_000_000_000 + n) for n in numbers]
        body = "\n".join(f"{name} value={ts % 1000}.5 {ts}" for name, ts in keys)
        with self.lock:
            self.sent_samples.update(keys)
        status = self._post(connection, "/write?precision=us", body)
        self._note(status, lambda: self.acked_samples.update(keys))

    def write_quote(self, connection, rng, owner):
        # A key belongs to one writer, so that the order of its values is known.
        key = (owner, rng.randrange(20))
        with self.lock:
            values = self.quotes.setdefault(key, [])
            value = len(values) + 1
            values.append(False)
        row = {"timestamp": 1_700_000_000_000_000 + key[1], "symbol": f"Q{owner}", "last_price": value}
        status = self._post(connection, "/api/v1/ingest/market_data", json.dumps(row))

        def mark():
            values[value - 1] = True
        self._note(status, mark)

    def write_events(self, connection, rng):
        rows = [{"id": f"e{n}", "timestamp": 1_700_000_000_000_000 + n, "api_name": "paid", "endpoint": f"/{n % 7}", "status_code": 200,
                 "credits_cost": f"0.{n % 1000:06}"} for n in self.numbers(rng.choice([1, 1, 5, 40]))]
        body = json.dumps(rows + rows[:rng.choice([0, 0, 1])])
        with self.lock:
            self.events.update((r["id"], int(r["credits_cost"][2:])) for r in rows)
        for _ in range(rng.choice([1, 1, 2])):
            status, data = self._ask(connection, "/api/v1/events", body)
            self._note(status, lambda: self.acked_events.update(r["id"] for r in rows))
            if status not in (200, 429, 503):
                self.broken.append(f"events {body[:200]}: {status} {data[:500]}")

    def write_reservation(self, connection, rng, owner):
        """The next step of one of the owner's reservations: the same as before if that was not answered."""
        mine = self.open.setdefault(owner, [])
        if not mine or len(mine) < 30 and rng.random() < 0.5:
            number, = self.numbers(1)
            mine.append({"id": f"r{number}", "reserved": False, "closing": None, "closed": False, "credits": number % 1000})
            with self.lock:
                self.reservations[mine[-1]["id"]] = mine[-1]
        one = rng.choice(mine)
        if not one["reserved"]:
            path, body = "reserve", {"reservation_id": one["id"], "api_name": "paid", "max_credits": "0.001", "ttl_ms": 24 * 3600 * 1000}
        else:
            one["closing"] = one["closing"] or rng.choice(["commit", "commit", "release"])
            path, body = one["closing"], {"reservation_id": one["id"]}
            if path == "commit":
                body.update(status_code=200, credits=f"0.{one['credits']:06}", event_id="c" + one["id"])
        status, data = self._ask(connection, "/api/v1/spend/" + path, json.dumps(body))

        def mark():
            one["reserved"] = True
            one["closed"] = path != "reserve"
        self._note(status, mark)
        if status not in (200, 429, 503):
            self.broken.append(f"{path} {body}: {status} {data[:500]}")
        if one["closed"] or status not in (200, 429, 503):
            mine.remove(one)

    def _note(self, status, record):
        with self.lock:
            if status in (200, 204):
                record()
                self.acks += 1
            else:
                self.refusals += 1

    def load(self, port, stop, owner, seed):
        """Writes until `stop` is set or the server is gone."""
        rng = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            while not stop.is_set():
                kind = rng.random()
                if kind < 0.3:
                    self.write_trades(connection, rng)
                elif kind < 0.5:
                    self.write_samples(connection, rng)
                elif kind < 0.65:
                    self.write_quote(connection, rng, owner)
                elif kind < 0.8:
                    self.write_events(connection, rng)
                else:
                    self.write_reservation(connection, rng, owner)
        except (OSError, http.client.HTTPException):
            pass  # killed under us: what was not answered is not counted
        finally:
            connection.close()

    def run(self, server, seconds, writers=6):
        """Load from several threads for a while; returns when all have ended."""
        stop = threading.Event()
        threads = [threading.Thread(target=self.load, args=(server.port, stop, owner, self.random.random()))
                   for owner in range(writers)]
        for thread in threads:
            thread.start()
        return stop, threads

    # ---- the judgement ----

    def verdict(self, sql):
        """Compares with what `sql(text)` (rows of a statement) finds; returns a list of complaints."""
        bad = self.broken[:5]
        rows = sql("SELECT trade_id, count(*), max(price) FROM trades GROUP BY trade_id")
        found = {trade_id: (count, price) for trade_id, count, price in rows}
        lost = [t for t in self.acked_trades if t not in found]
        doubled = [t for t, (count, _) in found.items() if count != 1]
        wrong = [t for t, (_, price) in found.items() if self.sent_trades.get(t) != price]
        rows = sql("SELECT metric_name, epoch_us(timestamp), count(*), max(value) FROM trading_metrics GROUP BY 1, 2")
        samples = {(name, ts): (count, value) for name, ts, count, value in rows}
        lost += [s for s in self.acked_samples if s not in samples]
        doubled += [s for s, (count, _) in samples.items() if count != 1]
        wrong += [s for s, (_, value) in samples.items() if s not in self.sent_samples or value != s[1] % 1000 + 0.5]
        rows = sql("SELECT symbol, epoch_us(timestamp), count(*), max(last_price) FROM market_data GROUP BY 1, 2")
        quotes = {(int(symbol[1:]), ts - 1_700_000_000_000_000): (count, value) for symbol, ts, count, value in rows}
        for key, values in self.quotes.items():
            last_acked = max((n + 1 for n, acked in enumerate(values) if acked), default=0)
            count, value = quotes.get(key, (0, 0))
            if last_acked and count == 0:
                lost.append(("quote", key))
            elif count > 1:
                doubled.append(("quote", key))
            elif count and not last_acked <= value <= len(values):
                wrong.append(("quote", key, value, last_acked))
        self._judge_spending(sql, lost, doubled, wrong)
        for name, keys in (("lost", lost), ("doubled", doubled), ("wrong", wrong)):
            if keys:
                bad.append(f"{len(keys)} {name}, e.g. {keys[:5]}")
        return bad

    def _judge_spending(self, sql, lost, doubled, wrong):
        """Entries of the event log and changes of reservations; adds to the lists."""
        expected = dict(self.events)
        expected.update(("c" + one["id"], one["credits"]) for one in self.reservations.values() if one["closing"] == "commit")
        acked = self.acked_events | {"c" + one["id"] for one in self.reservations.values() if one["closed"] and one["closing"] == "commit"}
        rows = sql("SELECT id, count(*), max(CAST(credits_cost * 1000000 AS BIGINT)) FROM api_event_log GROUP BY id")
        found = {event_id: (count, credits) for event_id, count, credits in rows}
        lost += [e for e in acked if e not in found]
        doubled += [e for e, (count, _) in found.items() if count != 1]
        wrong += [e for e, (_, credits) in found.items() if expected.get(e) != credits]
        rows = sql("SELECT reservation_id, change, count(*) FROM reservation_changes GROUP BY 1, 2")
        changes = {(reservation_id, change): count for reservation_id, change, count in rows}
        doubled += [c for c, count in changes.items() if count != 1]
        for one in self.reservations.values():
            if one["reserved"] and (one["id"], "reserve") not in changes:
                lost.append(("reserve", one["id"]))
            if one["closed"] and (one["id"], one["closing"]) not in changes:
                lost.append((one["closing"], one["id"]))
        wrong += [c for c in changes if c[0] not in self.reservations
                  or c[1] != "reserve" and c[1] != self.reservations[c[0]]["closing"]]
        rows = sql("SELECT count(*), max(seq), count(DISTINCT seq) FROM api_event_log")
        if rows[0][0] and len(set(rows[0])) != 1:
            wrong.append(("numbers of entries", rows[0]))

    def summary(self):
        return (f"{self.acks} acknowledged requests, {self.refusals} refused, {len(self.acked_trades)} trades, "
                f"{len(self.acked_samples)} samples, {len(self.quotes)} quotes, {len(self.acked_events)} events, "
                f"{sum(one['closed'] for one in self.reservations.values())} reservations closed")
