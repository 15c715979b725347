"""Who computes a shard: one at a time, the dead not at all, nobody twice in vain."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from shard_cases import NAMES, begun, job, sequences, write_table

from jlstm.shards import claims as claims_module
from jlstm.shards import working
from jlstm.shards.claims import Claims, host, started

ASK = {"inputs": ("a", "b", "c"), "sequence": "id"}


@pytest.fixture
def claims(tmp_path):
    held = Claims(tmp_path, limit=30)
    yield held
    held.close()


def other(tmp_path, **changes):
    """A claim as another process would have made it."""
    claim = {"host": host(), "pid": os.getpid(), "started": started(os.getpid())}
    (tmp_path / "a.json").write_text(json.dumps(claim | changes))


def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_one_gets_it(tmp_path):
    everyone = [Claims(tmp_path) for _ in range(8)]
    assert sum(one.take("a") for one in everyone) == 1
    assert all(one.alive("a") and not one.alive("b") for one in everyone)
    for one in everyone:
        one.close()


def test_that_of_a_dead_process_is_taken_over(tmp_path, claims):
    other(tmp_path, pid=gone())
    assert claims.claimed("a") and not claims.alive("a")
    assert claims.take("a") and claims.alive("a")


def test_that_of_a_process_with_the_same_number_is_taken_over(tmp_path, claims):
    other(tmp_path, started=str(int(started(os.getpid())) - 1))
    assert not claims.alive("a") and claims.take("a")


def test_a_process_that_nobody_has_waited_for_is_dead(tmp_path, claims):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other(tmp_path, pid=process.pid, started=started(process.pid))
    assert claims.alive("a")
    process.kill()
    deadline = time.monotonic() + 10
    while claims.alive("a"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.stdin.close()
    process.wait()


def test_another_machine_is_dead_when_it_is_silent(tmp_path, claims):
    other(tmp_path, host="elsewhere", pid=gone())
    assert claims.alive("a") and not claims.take("a")
    now = time.time()
    os.utime(tmp_path / "a.json", (now - 31, now - 31))
    assert not claims.alive("a") and claims.take("a")


def test_that_of_another_machine_is_waited_for_until_it_is_dead(tmp_path, claims):
    other(tmp_path)
    assert claims.silence("a") == 0
    other(tmp_path, host="elsewhere")
    assert claims.silence("a") == 30 and claims.silence("b") == 0


def test_a_claim_that_was_never_written_is_not_for_ever(tmp_path, claims):
    (tmp_path / "a.json").touch()
    assert claims.alive("a")
    past = time.time() - claims_module.BEAT - 1
    os.utime(tmp_path / "a.json", (past, past))
    assert claims.take("a")


def test_claims_are_touched_while_they_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_module, "BEAT", 0.02)
    held = Claims(tmp_path)
    held.take("a")
    os.utime(tmp_path / "a.json", (0, 0))
    deadline = time.monotonic() + 10
    while (tmp_path / "a.json").stat().st_mtime < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    held.close()


# --- turns ----------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path, rng):
    data = tmp_path / "data"
    data.mkdir()
    for k in range(6):
        write_table(data / f"{k}.csv", zip(NAMES, sequences(rng), strict=True))
    with begun(tmp_path / "out", data, **ASK) as run:
        yield run


def test_own_shards_come_first_then_those_of_others(shards):
    folder, evaluation, _ = shards
    names = [shard.name for shard in evaluation.shards]
    held = Claims(folder.claims)
    order = []
    for name in working.turns(folder, names, held, 1, 3):
        order.append(name)
        folder.record(name).write_text("{}")
    assert order == ["1.csv", "4.csv", "2.csv", "3.csv", "5.csv", "0.csv"]
    held.close()


def test_two_do_what_one_does(tmp_path, shards):
    folder, evaluation, options = shards
    counted = []
    threads = [
        threading.Thread(
            target=working.work,
            args=(folder, evaluation, job(options), k, 2, lambda *n: counted.append(n)),
        )
        for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = {r["shard"]: r["sha256"] for r in folder.records(evaluation)}
    assert sum(n for n, _ in counted) == 6 * len(NAMES)
    with begun(tmp_path / "alone", tmp_path / "data", **ASK) as (alone, same, _):
        working.work(alone, same, job(options))
        found = {r["shard"]: r["sha256"] for r in alone.records(same)}
    assert together == found and len(found) == 6


def test_the_shard_of_a_dead_worker_is_finished_by_another(shards):
    folder, evaluation, options = shards
    folder.claims.mkdir(exist_ok=True)
    claim = {"host": host(), "pid": gone(), "started": "1"}
    (folder.claims / "3.csv.json").write_text(json.dumps(claim))
    working.work(folder, evaluation, job(options), 0, 2)
    assert not folder.left(evaluation)


def test_the_shard_of_a_worker_that_dies_later_is_waited_for(shards, monkeypatch):
    monkeypatch.setattr(working, "WAIT", 0.01)
    folder, evaluation, options = shards
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claim = {"host": host(), "pid": process.pid, "started": started(process.pid)}
    (folder.claims / "3.csv.json").write_text(json.dumps(claim))
    thread = threading.Thread(
        target=working.work, args=(folder, evaluation, job(options), 0, 2)
    )
    thread.start()
    deadline = time.monotonic() + 30
    while folder.left(evaluation) != ["3.csv"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.stdin.close()
    process.wait()
    thread.join(30)
    assert not folder.left(evaluation)
