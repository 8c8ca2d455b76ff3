"""A program in Python that knows libeider's header and the Arrow C stream interface, by ctypes alone:

    arrow_by_ctypes.py LIBEIDER DATA_DIR

Appends a hundred thousand and one values, streams them back, and prints what it found in the buffers."""
import ctypes as c
import sys


class Label(c.Structure):
    _fields_ = [("name", c.c_char_p), ("value", c.c_char_p)]


class Series(c.Structure):
    _fields_ = [("name", c.c_char_p), ("symbol", c.c_char_p), ("labels", c.POINTER(Label)), ("label_count", c.c_size_t)]


class Points(c.Structure):
    _fields_ = [("series", Series), ("timestamps_us", c.POINTER(c.c_int64)), ("values", c.POINTER(c.c_double)),
                ("count", c.c_size_t), ("reserved", c.c_uint64 * 2)]


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("sys", c.c_int), ("message", c.c_char * 512)]


class Options(c.Structure):
    _fields_ = [("data_dir", c.c_char_p), ("rest", c.c_char * 256)]


class Query(c.Structure):
    _fields_ = [("sql", c.c_char_p), ("params", c.c_void_p), ("param_count", c.c_size_t), ("timeout_ms", c.c_int),
                ("rows_max", c.c_uint64), ("bytes_max", c.c_uint64), ("reserved", c.c_uint64 * 4)]


class Schema(c.Structure):
    pass


class Array(c.Structure):
    pass


class Stream(c.Structure):
    pass


Schema._fields_ = [("format", c.c_char_p), ("name", c.c_char_p), ("metadata", c.c_void_p), ("flags", c.c_int64),
                   ("n_children", c.c_int64), ("children", c.POINTER(c.POINTER(Schema))), ("dictionary", c.c_void_p),
                   ("release", c.CFUNCTYPE(None, c.POINTER(Schema))), ("private_data", c.c_void_p)]
Array._fields_ = [("length", c.c_int64), ("null_count", c.c_int64), ("offset", c.c_int64), ("n_buffers", c.c_int64),
                  ("n_children", c.c_int64), ("buffers", c.POINTER(c.c_void_p)),
                  ("children", c.POINTER(c.POINTER(Array))), ("dictionary", c.c_void_p),
                  ("release", c.CFUNCTYPE(None, c.POINTER(Array))), ("private_data", c.c_void_p)]
Stream._fields_ = [("get_schema", c.CFUNCTYPE(c.c_int, c.POINTER(Stream), c.POINTER(Schema))),
                   ("get_next", c.CFUNCTYPE(c.c_int, c.POINTER(Stream), c.POINTER(Array))),
                   ("get_last_error", c.CFUNCTYPE(c.c_char_p, c.POINTER(Stream))),
                   ("release", c.CFUNCTYPE(None, c.POINTER(Stream))), ("private_data", c.c_void_p)]

COUNT = 100001
START = 1700000000000000


def check(status, error):
    if status != 0:
        sys.exit(f"status {status}: {error.message.decode()}")


def column(array, kind):
    """The values of a fixed-width child, NULL as None."""
    bits = array.buffers[0]
    values = c.cast(array.buffers[1], c.POINTER(kind))
    valid = c.cast(bits, c.POINTER(c.c_uint8)) if bits else None
    return [values[i] if not valid or valid[i // 8] >> i % 8 & 1 else None for i in range(array.length)]


def main():
    lib = c.CDLL(sys.argv[1])
    lib.eider_version.restype = c.c_char_p
    db, error, lsn = c.c_void_p(), Error(), c.c_uint64()
    check(lib.eider_open(c.byref(Options(sys.argv[2].encode())), c.byref(db), c.byref(error)), error)
    labels = (Label * 1)(Label(b"venue", b"x"))
    points = Points(Series(b"m", b"BTC", labels, 1), (c.c_int64 * COUNT)(*range(START, START + COUNT)),
                    (c.c_double * COUNT)(*range(COUNT)), COUNT)
    check(lib.eider_append_points(db, c.byref(points), c.byref(lsn), c.byref(error)), error)
    check(lib.eider_wait_applied(db, lsn, 60000, c.byref(error)), error)
    query = Query(b"SELECT timestamp, CASE WHEN value % 2 = 0 THEN value END AS even FROM samples ORDER BY timestamp",
                  None, 0, 0, COUNT, 0)
    stream, schema, array = Stream(), Schema(), Array()
    check(lib.eider_query_stream(db, c.byref(query), c.c_size_t(30000), c.byref(stream), c.byref(error)), error)
    assert stream.get_schema(c.byref(stream), c.byref(schema)) == 0
    names = [(schema.children[i].contents.name.decode(), schema.children[i].contents.format.decode())
             for i in range(schema.n_children)]
    schema.release(c.byref(schema))
    assert not schema.release
    at = nulls = batches = 0
    while True:
        assert stream.get_next(c.byref(stream), c.byref(array)) == 0
        if not array.release:
            break
        times, values = array.children[0].contents, array.children[1].contents
        assert column(times, c.c_int64) == list(range(START + at, START + at + array.length))
        assert column(values, c.c_double) == [float(i) if i % 2 == 0 else None for i in range(at, at + array.length)]
        assert all(values.buffers[i] % 64 == 0 for i in range(values.n_buffers))
        nulls += values.null_count
        at += array.length
        batches += 1
        array.release(c.byref(array))
    stream.release(c.byref(stream))
    assert lib.eider_close(db) == 0
    print(names, at, nulls, batches)


main()
