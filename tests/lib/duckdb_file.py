"""Writes DuckDB databases and Parquet files through the library that the program itself uses, so
that tests have files of other programs without another dependency."""
import ctypes
import os

from eider import BIN, ROOT


def find_library():
    here = os.path.dirname(os.path.realpath(BIN))
    for folder in (os.path.join(here, "lib"), os.path.join(ROOT, "build", "lib"), os.path.join(ROOT, "build", "dev", "lib"),
                   os.path.join(ROOT, "build", "release", "lib"), os.path.join(ROOT, "node_modules/@duckdb/node-bindings-linux-x64"),
                   os.path.join(ROOT, "node_modules/@duckdb/node-bindings-linux-arm64")):
        path = os.path.join(folder, "libduckdb.so")
        if os.path.exists(path):
            return path
    return "libduckdb.so"


class Result(ctypes.Structure):
    _fields_ = [("a", ctypes.c_uint64), ("b", ctypes.c_uint64), ("c", ctypes.c_uint64),
                ("d", ctypes.c_void_p), ("e", ctypes.c_void_p), ("f", ctypes.c_void_p)]


def execute(path, *statements):
    """Runs statements on the database file (None: in memory)."""
    lib = ctypes.CDLL(find_library())
    lib.duckdb_result_error.restype = ctypes.c_char_p
    database, connection = ctypes.c_void_p(), ctypes.c_void_p()
    assert lib.duckdb_open(str(path).encode() if path else None, ctypes.byref(database)) == 0
    assert lib.duckdb_connect(database, ctypes.byref(connection)) == 0
    try:
        for statement in statements:
            result = Result()
            state = lib.duckdb_query(connection, statement.encode(), ctypes.byref(result))
            error = lib.duckdb_result_error(ctypes.byref(result))
            lib.duckdb_destroy_result(ctypes.byref(result))
            assert state == 0, error
    finally:
        lib.duckdb_disconnect(ctypes.byref(connection))
        lib.duckdb_close(ctypes.byref(database))


# The schema of the original observability API (docs/compatibility.md), with its keys and indexes.
ORIGINAL_SCHEMA = (
    "CREATE TABLE market_data (timestamp TIMESTAMP, symbol VARCHAR, last_price DOUBLE, bid DOUBLE, ask DOUBLE, "
    "volume BIGINT, trades INTEGER, spread_bps DOUBLE, PRIMARY KEY (timestamp, symbol))",
    "CREATE TABLE strategy_metrics (timestamp TIMESTAMP, strategy_name VARCHAR, pnl DOUBLE, daily_pnl DOUBLE, "
    "positions INTEGER, signals INTEGER, win_rate DOUBLE, PRIMARY KEY (timestamp, strategy_name))",
    "CREATE TABLE execution_metrics (timestamp TIMESTAMP PRIMARY KEY, orders_submitted INTEGER, orders_filled INTEGER, "
    "orders_cancelled INTEGER, orders_rejected INTEGER, fill_rate DOUBLE, avg_latency_ms DOUBLE, avg_slippage_bps DOUBLE)",
    "CREATE TABLE system_metrics (timestamp TIMESTAMP PRIMARY KEY, cpu_percent DOUBLE, memory_percent DOUBLE, "
    "disk_usage_percent DOUBLE, uptime_seconds DOUBLE, health_status VARCHAR, active_alerts INTEGER)",
    "CREATE TABLE trades (trade_id VARCHAR PRIMARY KEY, timestamp TIMESTAMP NOT NULL, symbol VARCHAR NOT NULL, "
    "side VARCHAR NOT NULL, quantity DOUBLE NOT NULL, price DOUBLE NOT NULL, latency_ms DOUBLE, slippage_bps DOUBLE, strategy VARCHAR)",
    "CREATE INDEX idx_market_data_timestamp ON market_data(timestamp)",
    "CREATE INDEX idx_trades_symbol ON trades(symbol)",
)
