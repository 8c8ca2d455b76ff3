"""scripts/embed-schema: which files it takes, and where it cuts them into statements."""
import hashlib
import os
import subprocess

import pytest

from eider import ROOT

UP = """-- A comment; with a semicolon and a 'quote.
CREATE TABLE a (b VARCHAR DEFAULT 'x;''y;'); /* another; one */
CREATE TABLE "odd;name" (c INTEGER); -- behind; it
DO $$
BEGIN
    RAISE NOTICE 'one; two';
END
$$;
CREATE FUNCTION f() RETURNS TEXT AS $body$ SELECT '$$;'; $body$ LANGUAGE sql
"""


def write(folder, names, text="SELECT 1;\n"):
    os.makedirs(folder, exist_ok=True)
    for name in names:
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


def embed(folder):
    out = os.path.join(folder, "out.c")
    done = subprocess.run([os.path.join(ROOT, "scripts", "embed-schema"), folder, out], capture_output=True, text=True, timeout=60)
    return done, open(out).read() if done.returncode == 0 else ""


def good(tmp_path):
    for dialect in ("duckdb", "postgres"):
        write(str(tmp_path / dialect), ["0001_tables.up.sql", "0001_tables.down.sql"])
    return str(tmp_path)


def test_statements_are_cut_at_semicolons_that_end_them(tmp_path):
    folder = good(tmp_path)
    write(folder + "/postgres", ["0001_tables.up.sql"], UP)
    done, source = embed(folder)
    assert done.returncode == 0, done.stderr
    assert 'postgres_1_up, 4, postgres_1_down, 1' in source
    assert hashlib.sha256(UP.encode()).hexdigest() in source
    text = source.replace('\\"', '"')
    for statement in ("CREATE TABLE a (b VARCHAR DEFAULT 'x;''y;')\"", 'CREATE TABLE "odd;name" (c INTEGER)"',
                      "SELECT '$$;'; $body$ LANGUAGE sql\""):
        assert statement in text, source
    assert "comment" not in source and "behind" not in source and "another" not in source


@pytest.mark.parametrize("dialect, names, gone, said", [
    ("duckdb", ["0003_gap.up.sql", "0003_gap.down.sql"], None, "should be 0002_name.up.sql"),
    ("postgres", ["0002_more.up.sql"], None, "needs one .down.sql a .up.sql"),
    ("duckdb", ["0002_more.up.sql", "0002_other.down.sql"], None, "0002_more.down.sql is missing"),
    ("duckdb", ["0002_More.up.sql", "0002_More.down.sql"], None, "in small letters"),
    ("duckdb", ["notes.sql"], None, "neither NNNN_name.up.sql nor NNNN_name.down.sql"),
    ("postgres", [], ["0001_tables.up.sql", "0001_tables.down.sql"], "holds no migration"),
])
def test_files_that_do_not_fit_are_refused(tmp_path, dialect, names, gone, said):
    folder = good(tmp_path)
    write(f"{folder}/{dialect}", names)
    for name in gone or []:
        os.unlink(f"{folder}/{dialect}/{name}")
    done, _ = embed(folder)
    assert done.returncode == 1 and said in done.stderr, done.stderr
