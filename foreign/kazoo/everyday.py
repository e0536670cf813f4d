"""kazoo's everyday use against three servers, through the death of their leader.

Arguments: the servers' addresses. Asks whoever started it, by lines on standard output, to kill and to start servers (`kill N`, `start N`); each is
answered by a line on standard input.

Reads are local to the server that a client is connected to; whoever wants to see what another client wrote asks for a `sync` before.
"""

import socket
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
)
from kazoo.recipe.watchers import ChildrenWatch, DataWatch

servers = sys.argv[1:]


def say(*words):
    print(*words, flush=True)


def ask(*words):
    say(*words)
    assert sys.stdin.readline().strip() == "done"


def word(server, what):
    """The answer to a four-letter word."""
    host, port = server.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(what)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer.decode()


def wait_for(condition, what, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


def client(hosts, **named):
    made = KazooClient(hosts=hosts, timeout=8.0, **named)
    made.start(timeout=15)
    return made


def nodes(zk):
    zk.ensure_path("/app/config")
    assert zk.create("/app/config/a", b"one") == "/app/config/a"
    refused(NodeExistsError, zk.create, "/app/config/a", b"two")
    refused(NoNodeError, zk.get, "/app/nothing")
    refused(NotEmptyError, zk.delete, "/app")
    data, stat = zk.get("/app/config/a")
    assert (data, stat.version, stat.dataLength, stat.numChildren) == (b"one", 0, 3, 0)
    stat = zk.set("/app/config/a", b"three", version=0)
    assert (stat.version, stat.dataLength) == (1, 5) and stat.mzxid > stat.czxid
    refused(BadVersionError, zk.set, "/app/config/a", b"four", version=0)
    names = [zk.create("/app/queue-", b"", sequence=True) for _ in range(3)]
    assert names == [f"/app/queue-{n:010d}" for n in (1, 2, 3)], names
    children, stat = zk.get_children("/app", include_data=True)
    assert len(children) == 4 and stat.numChildren == 4 and stat.cversion == 4
    acl, _ = zk.get_acls("/app")
    assert acl[0].id.scheme == "world"
    zk.delete("/app/config/a", version=1)
    assert zk.exists("/app/config/a") is None


def transactions(zk):
    transaction = zk.transaction()
    transaction.create("/t", b"1")
    transaction.create("/t/u", b"2")
    transaction.set_data("/t", b"3")
    transaction.check("/t", 1)
    assert transaction.commit()[0] == "/t"
    assert zk.get("/t")[0] == b"3"
    transaction = zk.transaction()
    transaction.set_data("/t", b"4")
    transaction.create("/t/u", b"there already")
    results = transaction.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], NodeExistsError), results
    assert zk.get("/t")[0] == b"3"


def watches(zk, other):
    seen, told = [], threading.Event()

    @DataWatch(zk, "/watched")
    def data(value, stat):
        seen.append(value)

    @ChildrenWatch(zk, "/app")
    def children(names):
        if "new" in names:
            told.set()

    other.create("/watched", b"1")
    wait_for(lambda: seen[-1] == b"1", "the watch of a znode that is made")
    other.set("/watched", b"2")
    wait_for(lambda: seen[-1] == b"2", "the watch of data")
    other.create("/app/new", b"")
    assert told.wait(10), "the watch of children"
    other.delete("/watched")
    wait_for(lambda: seen[-1] is None, "the watch of a deletion")


def ephemerals(hosts, zk):
    short = client(hosts)
    short.create("/here", b"", ephemeral=True)
    zk.sync("/here")
    owner = zk.exists("/here").ephemeralOwner
    assert owner == short.client_id[0], (owner, short.client_id)
    gone = threading.Event()
    assert zk.exists("/here", watch=lambda event: gone.set())
    short.stop()
    short.close()
    assert gone.wait(10), "an ephemeral goes with its session"
    wait_for(lambda: zk.exists("/here") is None, "the ephemeral is gone everywhere")


def locks(zk, other):
    one, two = zk.Lock("/lock", "one"), other.Lock("/lock", "two")
    one.acquire(timeout=10)
    assert not two.acquire(blocking=False)
    one.release()
    two.acquire(timeout=10)
    two.release()
    counter = zk.Counter("/counter")
    counter += 5
    counter -= 2
    other.sync("/counter")
    assert other.Counter("/counter").value == 3


def through_the_death_of_the_leader(zk, other):
    states, session = [], zk.client_id[0]
    zk.add_listener(states.append)
    zk.create("/mine", b"", ephemeral=True)
    written = []
    for n in range(3):
        leader = next(i for i, server in enumerate(servers) if "Mode: leader" in word(server, b"srvr"))
        began = time.monotonic()
        ask("kill", leader)

        def write():
            other.retry(other.create, f"/through-{n}", b"%d" % n)
            return True

        write()
        took = time.monotonic() - began
        zk.retry(zk.ensure_path, f"/also-{n}")
        written.append(f"/through-{n}")
        say("note", f"the leader, server {leader}, was killed; kazoo wrote again after {took:.2f} s")
        ask("start", leader)
        wait_for(lambda: "imok" == word(servers[leader], b"ruok"), "a server that comes back")
        wait_for(lambda: "Mode: follower" in word(servers[leader], b"srvr"), "it follows")
    zk.retry(zk.sync, "/")
    for path in written:
        assert zk.retry(zk.exists, path), path
    assert zk.client_id[0] == session, "the session was kept"
    assert KazooState.LOST not in states, states
    assert zk.retry(zk.exists, "/mine").ephemeralOwner == session


class Cable:
    """Stands between a client and a server, and can be pulled out: nothing passes, and nobody is told."""

    def __init__(self, server):
        self.server, self.pulled, self.sockets = server, threading.Event(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                host, port = self.server.rsplit(":", 1)
                far = socket.create_connection((host, int(port)), timeout=5)
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, target), daemon=True).start()

    def carry(self, source, target):
        try:
            while piece := source.recv(65536):
                if self.pulled.is_set():
                    continue
                target.sendall(piece)
        except OSError:
            pass
        source.close()
        target.close()

    def pull(self):
        self.pulled.set()

    def put_back(self, server):
        """At another server, as after a move: the old connections are dead."""
        self.server = server
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sockets = []
        self.pulled.clear()


TICK = 2.0


def cut_off(zk):
    """Whoever is heard of again within the timeout less one tick keeps the session; whoever stays away loses it."""
    cable = Cable(servers[0])
    states = []
    short = KazooClient(hosts=cable.address, timeout=4.0)
    short.add_listener(states.append)
    short.start(timeout=15)
    session, timeout = short.client_id[0], short._session_timeout / 1000.0
    short.create("/cut-off", b"", ephemeral=True)
    for n, server in enumerate((servers[1], servers[2])):
        # A ping goes out a third of the timeout after the last word, so the session was touched now.
        short.exists("/cut-off")
        cable.pull()
        if n == 1:
            leader = next(i for i, server in enumerate(servers) if "Mode: leader" in word(server, b"srvr"))
            ask("kill", leader)
        time.sleep(timeout - TICK - 0.1)
        if n == 1:
            server = servers[next(i for i in range(3) if i != leader)]
        cable.put_back(server)
        wait_for(lambda: short.retry(short.exists, "/cut-off"), "the client is back")
        assert short.client_id[0] == session and KazooState.LOST not in states, (n, states)
        zk.retry(zk.sync, "/")
        assert zk.retry(zk.exists, "/cut-off").ephemeralOwner == session
        if n == 1:
            ask("start", leader)
    gone = threading.Event()
    assert zk.retry(zk.exists, "/cut-off", watch=lambda event: gone.set())
    began = time.monotonic()
    cable.pull()
    assert gone.wait(timeout + 3 * TICK), "the session of a client that stays away ends"
    took = time.monotonic() - began
    assert took > timeout - TICK, f"after {took:.1f} s of {timeout} s"
    say("note", f"cut off for {timeout - TICK - 0.1:.1f} s of {timeout:.1f} s the session stayed, through the death of a leader too; for ever, it ended after {took:.1f} s")
    cable.put_back(servers[1])
    wait_for(lambda: KazooState.LOST in states, "the client hears that its session is over")
    short.stop()
    short.close()


def main():
    hosts = ",".join(servers)
    for server in servers:
        assert word(server, b"ruok") == "imok"
    zk, other = client(hosts), client(servers[1] + "," + servers[2])
    nodes(zk)
    transactions(zk)
    watches(zk, other)
    ephemerals(hosts, zk)
    locks(zk, other)
    for server in servers:
        each = client(server)
        each.sync("/")
        assert each.exists("/t") and each.get("/t")[0] == b"3"
        each.stop()
    through_the_death_of_the_leader(zk, other)
    cut_off(zk)
    zk.stop()
    other.stop()
    say("kazoo: znodes, transactions, watches, ephemerals, locks, through every server and the death of leaders, and cut off")


main()
