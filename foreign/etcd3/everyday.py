"""python-etcd3's everyday use against three servers, through the death of their leader.

Arguments: the servers' addresses. Asks whoever started it, by lines on standard output, to kill and to start servers (`kill N`, `start N`); each is
answered by a line on standard input.

This client knows one server. Whoever is connected to the one that dies connects to another, and watches again from the revision after the last that it was
told of; a client of a server that lives is told nothing of the death, and must not notice it.
"""

import queue
import sys
import time

import etcd3
from etcd3.events import DeleteEvent, PutEvent
from etcd3.exceptions import ConnectionFailedError, ConnectionTimeoutError, Etcd3Exception

servers = sys.argv[1:]


def say(*words):
    print(*words, flush=True)


def ask(*words):
    say(*words)
    assert sys.stdin.readline().strip() == "done"


def client(number, timeout=5):
    host, port = servers[number].rsplit(":", 1)
    return etcd3.client(host=host, port=int(port), timeout=timeout)


def wait_for(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def again(call, *arguments, seconds=10, **named):
    """What was sent to a server that cannot answer yet, once more."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call(*arguments, **named)
        except (ConnectionFailedError, ConnectionTimeoutError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def keys_and_values(etcd):
    assert etcd.get("/e/none") == (None, None)
    etcd.put("/e/a", "one")
    value, meta = etcd.get("/e/a")
    assert (value, meta.key, meta.version) == (b"one", b"/e/a", 1)
    put = etcd.put("/e/a", "two", prev_kv=True)
    assert put.prev_kv.value == b"one" and put.header.revision == meta.mod_revision + 1
    for n in range(5):
        etcd.put(f"/e/n{n}", str(9 - n))
    found = [(meta.key, value) for value, meta in etcd.get_prefix("/e/n", sort_order="descend", sort_target="value")]
    assert found == [(f"/e/n{n}".encode(), str(9 - n).encode()) for n in range(5)], found
    assert [meta.key for _, meta in etcd.get_range("/e/n1", "/e/n3")] == [b"/e/n1", b"/e/n2"]
    assert etcd.delete("/e/n0") and not etcd.delete("/e/n0")
    assert etcd.delete_prefix("/e/n").deleted == 4
    assert etcd.put_if_not_exists("/e/once", "1") and not etcd.put_if_not_exists("/e/once", "2")
    assert etcd.replace("/e/once", "1", "2") and not etcd.replace("/e/once", "1", "3")
    assert etcd.get("/e/once")[0] == b"2"
    revision = etcd.get("/e/a")[1].mod_revision
    etcd.compact(revision)
    assert len(list(etcd.members)) == len(servers) and etcd.status().db_size > 0


def transactions(etcd):
    tx = etcd.transactions
    etcd.put("/t/a", "1")
    done, answers = etcd.transaction(
        compare=[tx.value("/t/a") == "1", tx.version("/t/a") > 0, tx.create("/t/b") == 0],
        success=[tx.put("/t/b", "2"), tx.get("/t/b"), tx.delete("/t/a")],
        failure=[tx.get("/t/a")],
    )
    assert done and answers[1][0][0] == b"2", answers
    done, answers = etcd.transaction(
        compare=[tx.version("/t/a") > 0], success=[tx.put("/t/b", "3")], failure=[tx.get("/t/b")]
    )
    assert not done and answers[0][0][0] == b"2" and etcd.get("/t/a") == (None, None)
    try:
        etcd.transaction(compare=[], success=[tx.put("/t/c", "1"), tx.put("/t/c", "2")], failure=[])
    except Exception as error:
        assert "duplicate key given in txn request" in str(error), error
    else:
        raise AssertionError("one key put twice")


def watches(etcd, other):
    told = queue.Queue()
    number = etcd.add_watch_prefix_callback("/w/", told.put)
    other.put("/w/a", "1")
    other.delete("/w/a")
    events = []
    while len(events) < 2:
        events += told.get(timeout=10).events
    assert isinstance(events[0], PutEvent) and events[0].value == b"1"
    assert isinstance(events[1], DeleteEvent) and events[1].key == b"/w/a"
    etcd.cancel_watch(number)

    first = other.put("/w/b", "1").header.revision
    for n in (2, 3):
        other.put("/w/b", str(n))
    past, cancel = etcd.watch("/w/b", start_revision=first, prev_kv=True)
    seen = [next(past) for _ in range(3)]
    assert [event.value for event in seen] == [b"1", b"2", b"3"]
    assert seen[2].prev_value == b"2", "the value before"
    cancel()


def leases(etcd):
    lease = etcd.lease(3)
    etcd.put("/l/kept", "1", lease=lease)
    assert lease.granted_ttl == 3 and lease.keys == [b"/l/kept"]
    short = etcd.lease(2)
    etcd.put("/l/short", "1", lease=short)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert lease.refresh()[0].TTL == 3
        time.sleep(0.5)
    assert etcd.get("/l/kept")[0] == b"1", "it was refreshed"
    assert etcd.get("/l/short") == (None, None), "its time is over"
    lease.revoke()
    assert etcd.get("/l/kept") == (None, None)


def locks(etcd, other):
    mine, theirs = etcd.lock("job", ttl=10), other.lock("job", ttl=10)
    assert mine.acquire() and mine.is_acquired()
    assert not theirs.acquire(timeout=0.5) and not theirs.is_acquired()
    assert mine.release()
    assert theirs.acquire(timeout=5) and theirs.is_acquired() and not mine.is_acquired()
    assert theirs.refresh()[0].TTL == 10
    assert theirs.release()


def leader():
    for number in range(len(servers)):
        try:
            with client(number, timeout=2) as etcd:
                name = etcd.status().leader.name
                return int(name.removeprefix("n")) - 1
        except (Etcd3Exception, AttributeError):
            continue
    return None


def death():
    leads = leader()
    assert leads is not None, "somebody leads"
    lives = (leads + 1) % len(servers)
    of_dead, of_alive, third = client(leads), client(lives), client((leads + 2) % len(servers))
    lost, told = queue.Queue(), queue.Queue()
    of_dead.add_watch_prefix_callback("/d/", lost.put)
    of_alive.add_watch_prefix_callback("/d/", told.put)
    lease = of_alive.lease(10)
    of_alive.put("/d/held", "1", lease=lease)
    lock = of_alive.lock("through", ttl=20)
    assert lock.acquire()
    while True:
        seen = lost.get(timeout=10)
        if any(event.key == b"/d/held" for event in seen.events):
            break
    last = seen.header.revision

    began = time.monotonic()
    ask("kill", leads)
    again(third.put, "/d/after", "1")
    say(f"note the leader, server {leads}, was killed; etcd3 wrote again after {time.monotonic() - began:.2f} s")
    while not isinstance(lost.get(timeout=10), Exception):
        pass
    events = []
    while not any(event.key == b"/d/after" for event in events):
        events += told.get(timeout=10).events
    # Sent again, it may have been written more than once, but never told out of order.
    assert [event.key for event in events][0] == b"/d/held"
    revisions = [event.mod_revision for event in events]
    assert revisions == sorted(set(revisions)), revisions

    assert again(lease.refresh)[0].TTL == 10, "leases outlive the leader"
    assert again(third.get, "/d/held")[0] == b"1"
    assert again(lock.is_acquired) and not third.lock("through", ttl=20).acquire(timeout=0.5)
    # Whoever lost its server goes on where it was.
    events, cancel = third.watch_prefix("/d/", start_revision=last + 1)
    assert next(events).key == b"/d/after"
    cancel()

    ask("start", leads)
    back = client(leads)
    wait_for(lambda: again(back.get, "/d/after")[0] == b"1", "the server that died knows what it missed")
    assert again(lock.release)
    assert back.lock("through", ttl=5).acquire(timeout=5)
    again(lease.revoke)
    assert again(back.get, "/d/held") == (None, None)


one, two = client(0), client(1)
keys_and_values(one)
transactions(one)
watches(one, two)
leases(one)
locks(one, two)
death()
say(f"etcd3: content with {len(servers)} servers, through the death of the leader")
