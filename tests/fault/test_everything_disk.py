"""The load of test_everything_kill.py on a disk that becomes full, and has space again: what was acknowledged is there, what
failed says that it is for want of space, and everything works afterwards, behind a kill on the full disk, too."""
import select

import pytest

from eider import run, wait_for
from small_disk import Ballast, small_disk
from test_everything_kill import DUTIES, DUTIES_S, PATIENCE_S, SEED, World, say

SIZE_MIB = 192  # for two databases with their backups, archives and copies


@pytest.fixture
def root():
    with small_disk(SIZE_MIB) as path:
        yield path


def of_want_of_space(side, name):
    """How often a task failed and said that it was for want of space."""
    return sum(count for what, count in side.counts.items() if what.startswith(f"{name}: ") and ("space" in what.lower() or "the disk has" in what))


def fill_until_it_is_felt(world, ballast):
    """Until a write to each database was refused, and maintenance of one said what it lacks: that of the other may wait for an
    applier that is stalled by then, a minute a step."""
    refused = {side.name: side.counts.get("refused", 0) for side in world.sides}
    # Who waits for an applier that is stalled is told of it half a minute later: one of each database does not wait any more.
    first = {writer: writer.steps for writer in world.writers if writer.number == 0}
    for writer in first:
        writer.applied = 0
    wait_for(lambda: all(writer.steps > steps + 1 for writer, steps in first.items()), PATIENCE_S, "two writes of each")

    def felt():
        ballast.fill()
        assert world.server.process.poll() is None, f"the server ended with {world.server.process.returncode}: {world.server.log()}"
        return (all(side.counts.get("refused", 0) > refused[side.name] for side in world.sides)
                and any(of_want_of_space(side, name) for side in world.sides for name in ("seal", "optimize", "backup")))

    try:
        wait_for(felt, DUTIES_S)
    except AssertionError:
        raise AssertionError(f"a full disk and no refusals: {[side.counts for side in world.sides]}; {world.server.log()}") from None
    for writer in first:
        writer.applied = 0.5


def answer_on_a_full_disk(world):
    """With the server gone: whoever only looks comes to an end, and finds nothing worse than a full disk."""
    for side in world.sides:
        data, backups, _ = world.where(side)
        done = run("eventlog", "verify", "--data-dir", data)
        assert done.returncode == 0 or "space" in done.stderr, f"{done.stdout}{done.stderr}"
        done = run("backup", "--list", "--to", backups, "--json")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def forget_duties(world):
    """They are to be seen again."""
    for side in world.sides:
        for duty in sum(DUTIES.values(), []):
            side.counts.pop(duty, None)


def test_nothing_acknowledged_is_lost_on_a_disk_that_was_full(root, capsys):
    world = World(SEED, root)
    ballast = Ballast(root)
    try:
        world.start()
        world.define_budgets()
        world.begin()
        world.run_until(50)
        fill_until_it_is_felt(world, ballast)
        ballast.remove()
        world.run_until(30)  # it lives, and works on
        ballast.fill()
        select.select([], [], [], world.rng.uniform(0, 1))
        world.server.kill()
        world.end()
        ballast.fill()
        answer_on_a_full_disk(world)
        world.start(wait=False)  # it comes up, or says why not
        select.select([], [], [], world.rng.uniform(0.5, 3))
        ballast.remove()
        if world.server.process.poll() is not None:
            assert "space" in world.server.log(), world.server.log()
            world.start()
        world.server.wait_ready(PATIENCE_S)
        world.judge("a kill on the full disk")
        forget_duties(world)
        world.begin(last=True)
        world.run_until(20)
        world.until_all_is_seen()
        world.end()
        world.judge("the disk that was full")
        assert "closed pending query" not in world.summary(), world.summary()  # DuckDB's answer to a question nobody should ask
        assert world.server.stop() == 0, world.server.log()
        world.verify_stopped()
    finally:
        world.close()
        say(capsys, world, "full disk")
