"""A client that remembers what was acknowledged, and says what a store lacks or has too much of.

Three kinds of writes: trades (by JSON, unique ids), samples (by line protocol, unique timestamps, where a
record applied twice shows), and market data (replace by key, where the newest acknowledged value must win).
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
        connection.request("POST", path, body)
        answer = connection.getresponse()
        answer.read()
        return answer.status

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
                if kind < 0.4:
                    self.write_trades(connection, rng)
                elif kind < 0.8:
                    self.write_samples(connection, rng)
                else:
                    self.write_quote(connection, rng, owner)
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
        bad = []
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
        for name, keys in (("lost", lost), ("doubled", doubled), ("wrong", wrong)):
            if keys:
                bad.append(f"{len(keys)} {name}, e.g. {keys[:5]}")
        return bad

    def summary(self):
        return (f"{self.acks} acknowledged requests, {self.refusals} refused, {len(self.acked_trades)} trades, "
                f"{len(self.acked_samples)} samples, {len(self.quotes)} quotes")
