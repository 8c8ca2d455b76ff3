"""eider check says what is wrong with a stopped directory, and --repair mends it without deleting anything."""
import glob
import json
import os
import shutil

import pytest

from backups import Place, dump, dump_of, wait_applied
from eider import Server, run, wait_for
from postgres import Postgres
from test_backup import fill


@pytest.fixture
def place():
    with Place() as made:
        yield made


def check(place, *options):
    done = run("check", "--data-dir", place.data, "--json", *options)
    return done, json.loads(done.stdout) if done.stdout else None


def codes(said):
    return {finding["code"] for finding in said["findings"] if finding["severity"] != "note"}


def every_file(directory):
    """Name and contents of all that is there, but for what every start changes."""
    found = []
    for here, _, names in os.walk(directory):
        found += [open(os.path.join(here, name), "rb").read() for name in names]
    return found


def mend(place, expected):
    """check finds it, --explain explains it, --repair mends it, and a second repair has nothing to do."""
    done, said = check(place)
    assert expected in codes(said), said
    explained = run("check", "--data-dir", place.data, "--explain")
    assert expected in explained.stdout and "What it means" in explained.stdout
    backups = ["--from", place.backups] if os.path.isdir(place.backups) else []
    done, said = check(place, "--repair", *backups)
    assert done.returncode == 0, (done.stderr, said)
    assert not codes(said), said
    before = sorted(glob.glob(os.path.join(place.data, "quarantine", "*")))
    done, said = check(place, "--repair", *backups)
    assert done.returncode == 0 and not codes(said)
    assert sorted(glob.glob(os.path.join(place.data, "quarantine", "*"))) == before


def flip(path, at=None):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 2 if at is None else at)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def test_a_sound_directory_has_no_findings(place):
    with place.server() as server:
        fill(server, count=3)
    done, said = check(place)
    assert done.returncode == 0 and said["ok"] and not codes(said)
    assert "Nothing is wrong" in run("check", "--data-dir", place.data, "--explain").stdout


def test_a_repair_is_refused_while_a_server_runs(place):
    with place.server() as server:
        fill(server, count=1)
        done = run("check", "--data-dir", place.data, "--repair")
        assert done.returncode == 1 and "stop it" in done.stderr


@pytest.mark.parametrize("how", ["garbage", "missing"])
def test_a_database_is_rebuilt_of_the_log(place, how):
    with place.server() as server:
        fill(server, count=4)
        rows = dump(server)
    path = os.path.join(place.data, "eider.duckdb")
    if how == "garbage":
        with open(path, "r+b") as file:
            file.write(os.urandom(65536))
        mend(place, "DATABASE_DAMAGED")
        assert glob.glob(os.path.join(place.data, "quarantine", "*-eider.duckdb"))
    else:
        os.unlink(path)
        done, said = check(place, "--repair")
        assert done.returncode == 0 and not codes(said)
    assert dump_of(place, place.data) == rows


def test_a_damaged_log_keeps_what_is_in_front_of_the_damage(place):
    with place.server() as server:
        fill(server, count=2)
    with place.server() as server:
        fill(server, first=10, count=6)
        rows = dump(server)
        server.kill()
    segments = sorted(glob.glob(os.path.join(place.data, "wal", "*.wal")))
    begun = [path for path in segments if any(open(path, "rb").read()[4096:8192])]
    flip(begun[-1], 4096 + 40 + 10)  # a payload byte of its first record; later ones prove that it was durable
    refused = run("serve", "--data-dir", place.data, "--port", "0")
    assert refused.returncode == 1
    mend(place, "LOG_DAMAGED")
    assert glob.glob(os.path.join(place.data, "quarantine", "*-wal"))
    # Everything was applied before the kill, so nothing is lost, and the log goes on.
    assert dump_of(place, place.data) == rows
    with place.server() as server:
        fill(server, first=50, count=1)


def test_a_log_that_is_salvaged_is_there_whenever_it_is_killed(place):
    with place.server() as server:
        fill(server, count=2)
        rows = dump(server)
    with place.server() as server:
        fill(server, first=10, count=6)
        server.kill()
    segments = sorted(glob.glob(os.path.join(place.data, "wal", "*.wal")))
    begun = [path for path in segments if any(open(path, "rb").read()[4096:8192])]
    flip(begun[-1], 4096 + 40 + 10)
    damaged = open(begun[-1], "rb").read()
    os.unlink(os.path.join(place.data, "eider.duckdb"))  # now the log is all there is, up to the damage
    killed = run("check", "--data-dir", place.data, "--repair", env={"EIDER_FAILPOINT": "salvage.swapped:kill"})
    assert killed.returncode == -9
    done, said = check(place)
    assert done.returncode == 0 and said["wal"]["records"] > 0, said
    assert dump_of(place, place.data) == rows
    kept = glob.glob(os.path.join(place.data, "wal.salvaged", "*.wal")) + glob.glob(os.path.join(place.data, "quarantine", "*", "*.wal"))
    assert damaged in [open(path, "rb").read() for path in kept]


def seal(place):
    done = run("seal", "--data-dir", place.data)
    assert done.returncode == 0, done.stderr


def cold_files(place):
    return sorted(glob.glob(os.path.join(place.data, "cold", "*", "date=*", "*.parquet")))


def test_a_cold_file_is_taken_from_a_backup(place):
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    place.backup()
    files = cold_files(place)
    assert files
    # On one disk the backup's file is a second name of this one: a damaged disk would spoil both.
    whole = open(files[0], "rb").read()
    os.unlink(files[0])
    with open(files[0], "wb") as file:
        file.write(whole)
    flip(files[0])
    mend(place, "COLD_DAMAGED")
    os.unlink(files[-1])
    mend(place, "COLD_MISSING")
    assert cold_files(place) == files
    assert dump_of(place, place.data) == rows


def test_a_cold_file_that_no_backup_has_is_taken_off_the_list(place):
    with place.server() as server:
        fill(server, count=9)
    seal(place)
    raw = [path for path in cold_files(place) if "/market_data/" in path]
    os.unlink(raw[0])
    done, said = check(place)
    assert done.returncode == 1 and "COLD_MISSING" in codes(said)
    finding = next(f for f in said["findings"] if f["code"] == "COLD_MISSING")
    assert "3 rows of market_data" in finding["meaning"]
    # It is told as long as nobody has said that it is lost for good, and what to do stands beside it.
    for _ in range(2):
        done, said = check(place, "--repair")
        assert done.returncode == 1 and "COLD_GIVEN_UP" in codes(said) and "COLD_MISSING" not in codes(said), said
    assert os.path.relpath(raw[0], place.data) in done.stderr
    explained = run("check", "--data-dir", place.data, "--explain")
    assert explained.returncode == 1 and "NOT OK" in explained.stdout
    assert "3 rows of market_data" in explained.stdout and "--forget-missing" in explained.stdout
    with place.server() as server:
        assert server.sql("SELECT count(*) FROM market_data") == [[6]]
    done, said = check(place, "--forget-missing")
    assert done.returncode == 2 and "--repair" in done.stderr
    done, said = check(place, "--repair", "--forget-missing")
    assert done.returncode == 0 and not codes(said), said
    assert check(place)[0].returncode == 0


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_cold_file_that_was_given_up_is_put_back_later(place, how):
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    place.backup()
    for path in cold_files(place):
        if "/date=2026-01-06" in path:
            whole = open(path, "rb").read()
            os.unlink(path)
            if how == "damaged":
                with open(path, "wb") as file:
                    file.write(whole)
                flip(path)
    done, said = check(place, "--repair")
    assert done.returncode == 1 and codes(said) == {"COLD_GIVEN_UP"}, said
    assert "no backup is named (--from DIR)" in done.stderr
    with place.server() as server:
        assert server.sql("SELECT count(*) FROM market_data") == [[6]]
    done, said = check(place, "--repair", "--from", place.backups)
    assert done.returncode == 0 and not codes(said), (said, done.stderr)
    assert dump_of(place, place.data) == rows


def test_a_repair_from_nowhere_touches_nothing(place):
    with place.server() as server:
        fill(server, count=9)
    seal(place)
    flip(cold_files(place)[0])
    empty = os.path.join(place.root, "empty")
    os.makedirs(empty)
    before = sorted(every_file(place.data))
    for wrong, why in [(os.path.join(place.root, "nowhere"), "no such directory"), (empty, "no backup of Eider in it")]:
        done = run("check", "--data-dir", place.data, "--repair", "--from", wrong)
        assert done.returncode == 1 and f"--from is {wrong}: " in done.stderr and why in done.stderr, done.stderr
        assert sorted(every_file(place.data)) == before
    # What is configured may not have been written to yet.
    done = run("check", "--data-dir", place.data, "--repair", "--set", f"backup.dir={os.path.join(place.root, 'nowhere')}")
    assert "nothing is taken from a backup" in done.stderr and "no backup is named" in done.stderr, done.stderr


def test_a_copy_that_is_damaged_too_is_told(place):
    """On one disk the backup's file is a second name of the same bytes."""
    with place.server() as server:
        fill(server, count=9)
    seal(place)
    place.backup()
    path = cold_files(place)[0]
    assert os.stat(path).st_nlink == 2
    flip(path)
    done = run("check", "--data-dir", place.data, "--repair", "--from", place.backups)
    assert "its copy in the backup is damaged, too: " + place.backups in done.stderr, done.stderr
    assert "no backup there has it" not in done.stderr


def take_away(place, directory):
    """Moves the files of a day, raw ones and rollups, out of cold/; returns the way back."""
    moved = [path for path in cold_files(place) if os.path.basename(os.path.dirname(path)) == directory]
    away = os.path.join(place.root, "away")
    os.makedirs(away)
    for i, path in enumerate(moved):
        shutil.move(path, os.path.join(away, str(i)))

    def put_back():
        for i, path in enumerate(moved):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(os.path.join(away, str(i)), path)
    return put_back


def test_a_cold_file_that_comes_back_is_listed_again(place):
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    put_back = take_away(place, "date=2026-01-06")
    with place.server() as server:
        assert server.sql("SELECT count(*) FROM market_data") == [[6]]
        fill(server, first=60, count=1)  # of another day
        later = dump(server)
    assert os.path.exists(os.path.join(place.data, "cold", "missing.json"))
    put_back()
    found = dump_of(place, place.data)
    for table in ("market_data", "trades", "samples"):
        assert found[table] == sorted(rows[table] + [row for row in later[table] if row not in rows[table]], key=repr), table
    with open(os.path.join(place.data, "cold", "missing")) as file:
        assert file.read() == ""
    done, said = check(place)
    assert done.returncode == 0 and codes(said) <= {"COLD_ORPHAN"}, said  # of a day that was merged for its late row
    assert dump_of(place, place.data) == found


@pytest.mark.parametrize("what", ["written again", "damaged"])
def test_a_cold_file_that_does_not_fit_any_more_stays_out_and_is_kept(place, what):
    with place.server() as server:
        fill(server, count=9)
    seal(place)
    put_back = take_away(place, "date=2026-01-06")
    with place.server("--log-level", "INFO") as server:
        if what == "written again":
            quote = {"timestamp": "2026-01-06T00:00:01.000001", "symbol": "AAPL", "last_price": 7.0}  # its key is in the file
            assert server.ingest("market_data", quote, ack="applied").status_code == 200
        before = server.sql("SELECT count(*) FROM market_data")
    put_back()
    there = cold_files(place)
    if what == "damaged":
        flip([path for path in there if "/market_data/date=2026-01-06" in path][0])
    with place.server() as server:
        assert server.sql("SELECT count(*) FROM market_data") == before
        log = server.log()
        assert "is back, and not listed again" in log
        assert ("would be there twice" if what == "written again" else "not what was written") in log
        wait_for(lambda: server.get("/api/v1/admin/cold").json()["rounds"] > 0, 60, "a round")
    assert set(there) <= set(cold_files(place))


def lose(place, table, kind="", day="2026-01-06"):
    """Removes the raw file or a rollup of a day; returns its path."""
    path, = (path for path in cold_files(place) if f"/{table}{kind}/date={day}/" in path)
    os.unlink(path)
    return path


def missing_lists(place):
    return [open(os.path.join(place.data, "cold", name), "rb").read() for name in ("missing", "missing.json")]


def given_up(place):
    """A directory with a backup, one of whose files was lost and given up by a start."""
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    place.backup()
    path = lose(place, "trades")
    with place.server() as server:
        assert server.sql("SELECT count(*) FROM trades") == [[6]]
    return path, rows


def test_nothing_is_forgotten_while_a_place_of_backups_was_not_read(place):
    path, rows = given_up(place)
    before = missing_lists(place)
    configured = ["--set", f"backup.dir={place.backups}"]
    away = place.backups + ".away"
    os.rename(place.backups, away)

    def refused(why, *options):
        done, said = check(place, "--repair", "--forget-missing", *options)
        assert done.returncode == 1 and why in done.stderr and "nothing was repaired" in done.stderr, done.stderr
        assert "given up for good" not in done.stderr and missing_lists(place) == before

    refused(f"backup.dir is {place.backups}: there is no such directory", *configured)
    os.mkdir(place.backups)  # where it would be mounted
    refused(f"backup.dir is {place.backups}: there is no backup of Eider in it", *configured)
    # A place that is named does not make up for the one that is configured.
    os.rename(os.path.join(away, "files"), os.path.join(place.root, "files"))
    shutil.copytree(away, os.path.join(place.root, "other"))
    os.mkdir(os.path.join(place.root, "other", "files"))
    refused(f"backup.dir is {place.backups}", "--from", os.path.join(place.root, "other"), *configured)
    os.rmdir(place.backups)
    os.rename(away, place.backups)
    refused("files cannot be read", *configured)
    os.rename(os.path.join(place.root, "files"), os.path.join(place.backups, "files"))
    manifest, = glob.glob(os.path.join(place.backups, "*", "manifest.json"))
    flip(manifest)
    refused("manifest.json", *configured)
    flip(manifest)
    # The one that is configured has the file, though not the one that is named.
    done, said = check(place, "--repair", "--forget-missing", "--from", os.path.join(place.root, "other"), *configured)
    assert done.returncode == 0 and os.path.exists(path) and not codes(said), (done.stderr, said)
    assert dump_of(place, place.data) == rows


def test_nothing_is_forgotten_when_a_copy_cannot_be_read(place):
    path, rows = given_up(place)
    other = lose(place, "market_data")  # of which the backup's copy is all right
    before = missing_lists(place)
    copy, = glob.glob(os.path.join(place.backups, "files", "trades", "date=2026-01-06", "*.parquet"))
    os.rename(copy, copy + ".away")
    os.mkdir(copy)  # which opens, and cannot be read
    for options in (["--forget-missing"], []):
        done, said = check(place, "--repair", "--from", place.backups, *options)
        assert done.returncode == 1 and "whether a backup has a lost file is not known" in done.stderr, done.stderr
        assert copy in done.stderr and "Is a directory" in done.stderr
        assert "given up for good" not in done.stderr and missing_lists(place) == before
    os.rmdir(copy)
    os.rename(copy + ".away", copy)
    done, said = check(place, "--repair", "--from", place.backups, "--forget-missing")
    assert done.returncode == 0 and not codes(said) and os.path.exists(path) and os.path.exists(other), (done.stderr, said)
    assert dump_of(place, place.data) == rows


@pytest.mark.parametrize("listed", [True, False])
def test_a_cold_file_that_cannot_be_read_is_neither_moved_nor_forgotten(place, listed):
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    path, = (path for path in cold_files(place) if "/trades/date=2026-01-06/" in path)
    size = os.path.getsize(path)
    os.rename(path, path + ".away")
    if not listed:
        with place.server():
            pass
    os.mkdir(path)
    done, said = check(place, "--repair", "--forget-missing") if not listed else check(place)
    assert done.returncode == 1, said
    finding = next(f for f in said["findings"] if f["code"] == ("COLD_UNREADABLE" if listed else "COLD_GIVEN_UP"))
    assert "cannot be read" in finding["what"] and "not known" in finding["meaning"], finding
    assert os.path.isdir(path) and "given up for good" not in done.stderr and not glob.glob(os.path.join(place.data, "quarantine", "*"))
    os.rmdir(path)
    os.rename(path + ".away", path)
    assert os.path.getsize(path) == size and dump_of(place, place.data) == rows


def test_a_file_whose_rows_were_written_again_stays_an_error_until_it_is_given_up(place):
    path, rows = given_up(place)
    with place.server() as server:
        again = {"trade_id": "t1", "timestamp": "2026-01-05T00:00:00", "symbol": "ETH", "side": "buy", "quantity": 1.0, "price": 9.0}
        assert server.ingest("trades", again, ack="applied").status_code == 200
        before = dump(server)
    assert len(before["trades"]) == len(rows["trades"]) - 2
    done, said = check(place, "--repair", "--from", place.backups)
    for _ in range(2):
        assert done.returncode == 1 and "COLD_BACK" in codes(said) and os.path.exists(path), said
        finding = next(f for f in said["findings"] if f["code"] == "COLD_BACK")
        assert finding["severity"] == "error" and "written again meanwhile" in finding["what"], finding
        assert "3 rows of trades" in finding["meaning"] and "--forget-missing" in finding["repair"], finding
        done, said = check(place, "--repair")
    assert check(place)[0].returncode == 1
    done, said = check(place, "--repair", "--forget-missing")
    assert done.returncode == 0 and not codes(said) and f"given up for good: {path}" in done.stderr, (done.stderr, said)
    assert len(glob.glob(os.path.join(place.data, "quarantine", "*" + os.path.basename(path)))) == 1
    assert check(place)[0].returncode == 0
    with place.server("--log-level", "INFO") as server:
        assert dump(server) == before
        assert "not listed again" not in server.log()


def retain(place, rule):
    done = run("retention", "run", "--data-dir", place.data, "--set", f"retention={rule}")
    assert done.returncode == 0, done.stderr


def rollup_rows(place):
    with place.server() as server:
        return sorted(server.sql("SELECT * FROM market_data_1d"), key=repr)


@pytest.mark.parametrize("what", ["alone", "late row", "late row sealed"])
def test_a_rollup_whose_rows_retention_dropped_is_listed_again(place, what):
    with place.server() as server:
        fill(server, count=9)
    seal(place)
    retain(place, "table=market_data rollup=raw max_age=30d")
    place.backup()
    before = rollup_rows(place)
    path = lose(place, "market_data", "_1d")
    fewer = rollup_rows(place)
    assert len(fewer) < len(before)
    if what != "alone":
        with place.server() as server:
            late = {"timestamp": "2026-01-06T00:00:01.000001", "symbol": "AAPL", "last_price": 7.0}
            assert server.ingest("market_data", late, ack="applied").status_code == 200
        if what == "late row sealed":
            seal(place)
    done, said = check(place)
    assert done.returncode == 1 and "COLD_GIVEN_UP" in codes(said)
    done, said = check(place, "--repair", "--from", place.backups)
    if what == "alone":
        assert done.returncode == 0 and not codes(said), (done.stderr, said)
        assert rollup_rows(place) == before
        return
    assert done.returncode == 1 and "counted twice" in done.stderr and codes(said) == {"COLD_BACK"}, (done.stderr, said)
    assert os.path.exists(path)
    assert [row[2] for row in rollup_rows(place) if row[1].startswith("2026-01-06")] == [1]  # the late one alone
    done, said = check(place, "--repair", "--forget-missing")
    assert done.returncode == 0 and not codes(said) and not os.path.exists(path), (done.stderr, said)


@pytest.mark.parametrize("rule, stay", [("max_age=30d", False), ("max_age=30000d", True), ("max_bytes=1", False)])
def test_rows_that_retention_dropped_do_not_come_back_with_a_file_that_was_given_up(place, rule, stay):
    path, rows = given_up(place)
    retain(place, f"table=trades {rule}")
    done, said = check(place, "--repair", "--from", place.backups)
    assert done.returncode == 0 and not codes(said) and os.path.exists(path) == stay, (done.stderr, said)
    with place.server() as server:
        assert server.sql("SELECT count(*) FROM trades") == [[9 if stay else 0]]


def test_settings_of_postgres_leave_the_files_of_duckdb_alone(place):
    """The list of cold files is in eider.duckdb, which a server with PostgreSQL does not open."""
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    files = cold_files(place)
    with Postgres() as postgres:
        with Server("--set", "collect.system=false", *postgres.settings(), data_dir=place.data) as server:
            wait_applied(server)
        for options in ([], ["--repair"], ["--repair", "--forget-missing"]):
            done, said = check(place, *postgres.settings(), *options)
            assert done.returncode == 0 and not codes(said), (done.stderr, said)
            assert cold_files(place) == files
    assert not glob.glob(os.path.join(place.data, "quarantine", "*"))
    assert dump_of(place, place.data) == rows


def test_a_stray_file_is_set_aside(place):
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    files = cold_files(place)
    stray = os.path.join(os.path.dirname(files[0]), "0193c2a0-0000-7000-8000-000000000001.parquet")
    shutil.copy(files[0], stray)
    shutil.copy(files[0], stray.replace("1.parquet", "2.parquet"))
    explained = run("check", "--data-dir", place.data, "--explain").stdout
    assert explained.count("is listed by nobody") == 2 and explained.count("No query reads it, and nothing is lost") == 1
    mend(place, "COLD_ORPHAN")
    assert not os.path.exists(stray)
    assert glob.glob(os.path.join(place.data, "quarantine", "*0193c2a0-0000-7000-8000-000000000001.parquet"))
    assert dump_of(place, place.data) == rows


@pytest.mark.parametrize("strays", [0, 300])
def test_one_repair_is_enough_for_a_damaged_database_with_cold_files(place, strays):
    """The log begins at record 1, so the database comes from it, and lists none of the cold files, nor more than are listed at
    once."""
    with place.server() as server:
        fill(server, count=9)
        rows = dump(server)
    seal(place)
    before = cold_files(place)
    assert len(before) > 1
    for number in range(strays):
        shutil.copy(before[0], os.path.join(os.path.dirname(before[0]), f"0193c2a0-0000-7000-8000-{number:012}.parquet"))
    with open(os.path.join(place.data, "eider.duckdb"), "r+b") as file:
        file.write(os.urandom(65536))
    kept = [open(path, "rb").read() for path in before]
    mend(place, "DATABASE_DAMAGED")
    assert dump_of(place, place.data) == rows
    found = every_file(place.data)
    assert all(bytes in found for bytes in kept)


@pytest.mark.parametrize("database", ["missing", "garbage"])
def test_when_both_copies_are_lost_the_cold_files_are_adopted(place, database):
    with place.server() as server:
        fill(server, count=9)
        quotes = sorted(server.sql("SELECT * FROM market_data"), key=repr)
        points = sorted(server.sql("SELECT * FROM trading_metrics"), key=repr)
    seal(place)
    for path in glob.glob(os.path.join(place.data, "wal", "*.wal")) + glob.glob(os.path.join(place.data, "backup", "*")):
        os.unlink(path)
    os.unlink(os.path.join(place.data, "eider.duckdb"))
    if database == "garbage":
        with open(os.path.join(place.data, "eider.duckdb"), "wb") as file:
            file.write(b"rubbish" * 2000)
    done = run("check", "--data-dir", place.data, "--explain")
    assert "definitions of series are in cold/series" in done.stdout and "eider restore" in done.stdout
    mend(place, "DATABASE_LOST")
    with place.server() as server:
        assert sorted(server.sql("SELECT * FROM trading_metrics"), key=repr) == points
        assert sorted(server.sql("SELECT * FROM market_data"), key=repr) == quotes
        fill(server, first=100, count=3)
        assert len(server.sql("SELECT * FROM market_data")) == len(quotes) + 3


@pytest.mark.parametrize("database", ["gone", "begun anew"])
def test_no_start_takes_an_empty_database_for_the_one_of_the_cold_files(place, database):
    """What an empty database does not list would be removed: all rows of sealed days."""
    with place.server() as server:
        fill(server, count=9)
        quotes = sorted(server.sql("SELECT * FROM market_data"), key=repr)
    seal(place)
    files = cold_files(place)
    cold = os.path.join(place.data, "cold")
    shutil.rmtree(os.path.join(place.data, "wal"))
    os.unlink(os.path.join(place.data, "eider.duckdb"))
    if database == "begun anew":  # one with tables and no rows, of a start that was killed
        os.rename(cold, cold + "-away")
        killed = run("serve", "--data-dir", place.data, "--port", "0", env={"EIDER_FAILPOINT": "schema.done:kill:3"})
        assert killed.returncode == -9 and os.path.exists(os.path.join(place.data, "eider.duckdb"))
        shutil.rmtree(cold, ignore_errors=True)
        os.rename(cold + "-away", cold)
        done, said = check(place)
        assert codes(said) == {"DATABASE_LOST"}, said
    for _ in range(2):
        refused = run("serve", "--data-dir", place.data, "--port", "0")
        assert refused.returncode == 1 and "eider check --repair" in refused.stderr, refused.stderr
        assert cold_files(place) == files
    mend(place, "DATABASE_LOST")
    with place.server() as server:
        assert sorted(server.sql("SELECT * FROM market_data"), key=repr) == quotes


def test_when_nothing_is_left_it_says_so(place):
    with place.server() as server:
        fill(server, count=1)
    with open(os.path.join(place.data, "eider.duckdb"), "r+b") as file:
        file.write(os.urandom(65536))
    for path in glob.glob(os.path.join(place.data, "wal", "*.wal")):
        flip(path, 100)  # in the header
    done, said = check(place)
    assert done.returncode == 1 and not said["ok"]
    lost = next(f for f in said["findings"] if f["code"] == "DATABASE_LOST")
    assert "eider restore" in lost["repair"]
    # A repair tries what it can; the bytes are all still there.
    check(place, "--repair")
    assert glob.glob(os.path.join(place.data, "quarantine", "*-wal"))
    assert glob.glob(os.path.join(place.data, "quarantine", "*-eider.duckdb"))


def test_half_a_restore_is_told(place):
    with place.server() as server:
        fill(server, count=1)
    with open(os.path.join(place.data, "restore-unfinished"), "w") as file:
        file.write("x")
    done, said = check(place)
    assert done.returncode == 1 and "RESTORE_UNFINISHED" in codes(said)
