"""Plays the same random operations against a real ZooKeeper and against ours, and compares after every one.

    differential.py --real HOST:PORT --ours HOST:PORT[,HOST:PORT…] --operations N --seed S

Three clients a side; client n of ours speaks to server n, so what one writes another reads from another server. After whatever may change the tree
every client syncs, and what it has been told by its watches since is compared, in order. What is sent goes past kazoo's own checks, so that it is the
server that refuses. Each side numbers its transactions and sessions as it likes: zxids must correspond one to one and in the same order, sessions one
to one.

Where the two are meant to differ is in `Tolerated`, by name; everything else ends the run with a report.
"""

import argparse
import base64
import bisect
import collections
import hashlib
import logging
import random
import struct
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, ConnectionLoss, KazooException
from kazoo.protocol.connection import _CONNECTION_DROP
from kazoo.protocol.serialization import read_acl, read_buffer, stat_struct
from kazoo.protocol.states import ZnodeStat

CLIENTS = 3
PACKET_MAX = 0xFFFFF
SESSION_SECONDS = 30.0
ANSWER_SECONDS = 30
HISTORY = 20
ROUND = 2000  # operations until the play moves to a fresh subtree: ACLs lock the old one up

INVALID_ACL = -114
CREATIONS = (1, 15, 19, 21)
EVENTS = {1: "created", 2: "deleted", 3: "data", 4: "children", 5: "data-unwatched", 6: "children-unwatched", 7: "unwatched"}


class Tolerated:
    """Differences that are meant: ZooKeeper's own answer is no promise, or its later releases give another."""

    # ZooKeeper deletes the ephemerals of a session in the order of a hash table, we in the order of their paths.
    ORDER_OF_A_SESSIONS_EPHEMERALS = "the order of events when a session ends"
    # ZooKeeper's order is that of a hash table.
    ORDER_OF_SETS = "the order of children, of a session's ephemerals, and of a client's identities"
    # Before 3.9 (ZOOKEEPER-4466) checkWatches finds anybody's watch on the path, and looks for recursive ones above it, on the way to which it stumbles
    # over a path without a slash; since then, and here, only the client's own on that path count.
    ANYBODYS_WATCH = "checkWatches finds the watch of another client"
    # Before 3.9 (ZOOKEEPER-4466) a client has one kind of watch on one path, the latest; since then, and here, they stand side by side. So the last
    # client leaves only persistent watches, one mode a path and removed whole, and the others leave none.
    ONE_MODE_A_PATH = "a client's watches of several modes on one path"

    # ZooKeeper writes characters past the 16-bit plane as two surrogates, each encoded by itself; that is not UTF-8, and kazoo cannot read it.
    SURROGATES = "😀 in an answer"

    # Since 3.9.2, and here, exists needs READ. The watch that it left all the same is taken away again.
    EXISTS_NEEDS_READ = "exists of a znode that may not be read"

    # Who may not read a znode is not told what setWatches finds to have happened to it; ZooKeeper asks for READ when it tells of changes, but not here.
    SET_WATCHES_NEEDS_READ = "what setWatches tells of a znode that may not be read"
    # Not played: `check` outside a multi is refused since ZOOKEEPER-2623, and here, but not by Debian's; deleteContainer is for the leader alone, but
    # ZooKeeper takes it from clients; sasl is left out here.
    NOT_OFFERED = "check outside a multi, deleteContainer, sasl"

    # ZooKeeper stumbles (MarshallingError) over a null when it compares entries of an ACL, and when the scheme looks into the id; here such an entry is
    # InvalidACL like any other that names nobody, and in a multi in its turn. (Not played: null for the id of `auth`, which is not looked at by either,
    # unless ZooKeeper compares it with another entry's.)
    NULL_IN_AN_ACL = "null in an ACL"
    # ZooKeeper looks at the flags before the path, we find a request malformed that has no path. (Not played: null paths of sync, addWatch and
    # getEphemerals, of which ZooKeeper makes something, and we do not.)
    NULL_PATH_WITH_BAD_FLAGS = "flags that are none, and no path"

    # Not played: createTTL whose flags are those of another kind, and whose time is negative; Debian's ZooKeeper stops answering for good.
    TTL_WITHOUT_ITS_FLAG = "createTTL without the flag"

    @staticmethod
    def answers(request, real, ours):
        """The name of the difference, if it is a meant one."""
        if request.type == 17 and ours == "NoWatcherError" and (real is None or real == "MarshallingError" and "/" not in request.path):
            return Tolerated.ANYBODYS_WATCH
        if request.type == 3 and isinstance(real, ZnodeStat) and ours == "NoAuthError":
            return Tolerated.EXISTS_NEEDS_READ
        if real == "MarshallingError" and request.nulls and (ours == "InvalidACLError" or isinstance(ours, list) and (-1, INVALID_ACL) in ours):
            return Tolerated.NULL_IN_AN_ACL
        if request.type in CREATIONS and request.path is None and (real, ours) == ("BadArgumentsError", "MarshallingError"):
            return Tolerated.NULL_PATH_WITH_BAD_FLAGS
        return None


# ---------------------------------------------------------------------------------------------------------------- the wire


def string(text):
    """None is ZooKeeper's null; kazoo would send one for an empty string, too."""
    return buffer(None if text is None else text.encode("utf-8", "surrogatepass"))


def buffer(data):
    return struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data


def vector(items, encode):
    return struct.pack("!i", -1) if items is None else struct.pack("!i", len(items)) + b"".join(map(encode, items))


def acl_entry(entry):
    perms, scheme, identity = entry
    return struct.pack("!i", perms) + string(scheme) + string(identity)


def number(value):
    return struct.pack("!i", value)


def long(value):
    return struct.pack("!q", value)


def flag(value):
    return b"\1" if value else b"\0"


def read_string(answer, at):
    data, at = read_buffer(answer, at)
    if data is None:
        return None, at
    try:
        return data.decode(), at
    except UnicodeDecodeError:  # Tolerated.SURROGATES
        return data.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16"), at


def nothing(answer, at):
    return None, at


def a_number(answer, at):
    return struct.unpack_from("!i", answer, at)[0], at + 4


def a_stat(answer, at):
    return ZnodeStat._make(stat_struct.unpack_from(answer, at)), at + stat_struct.size


def items(answer, at, read):
    count, at = a_number(answer, at)
    found = []
    for _ in range(count):
        item, at = read(answer, at)
        found.append(item)
    return found, at


def children(answer, at):
    found, at = items(answer, at, read_string)
    return sorted(found), at  # Tolerated.ORDER_OF_SETS


def an_acl(answer, at):
    found, at = items(answer, at, read_acl)
    return sorted(found), at  # Tolerated.ORDER_OF_SETS: `auth` becomes all identities of the client


def an_identity(answer, at):
    return both(read_string, read_string)(answer, at)


def identities(answer, at):
    found, at = items(answer, at, an_identity)
    return sorted(found), at  # Tolerated.ORDER_OF_SETS


def both(first, second):
    def read(answer, at):
        one, at = first(answer, at)
        two, at = second(answer, at)
        return (one, two), at

    return read


def results(answer, at):
    """The results of a multi: each as (type, value)."""
    readers = {1: read_string, 2: nothing, 5: a_stat, 13: nothing, 15: both(read_string, a_stat), -1: a_number}
    readers |= {4: both(read_buffer, a_stat), 8: children}
    found = []
    while True:
        kind, done, _ = struct.unpack_from("!iBi", answer, at)
        at += 9
        if done:
            return found, at
        value, at = readers[kind](answer, at)
        found.append((kind, value))


class Request:
    """What kazoo sends as it is. `words` say to a person what it is; `path` is what it creates, deletes or reads; `nulls`: has its ACL any?"""

    def __init__(self, type, body, answer=nothing, words="", path=None, writes=False, nulls=False):
        self.type, self.body, self.answer = type, body, answer
        self.words, self.path, self.writes, self.nulls = words, path, writes, nulls

    def serialize(self):
        return self.body

    def deserialize(self, answer, at):
        value, end = self.answer(answer, at)
        if end != len(answer):
            raise ValueError(f"{len(answer) - end} bytes more than {self.words} is answered with")
        return value

    def __str__(self):
        return self.words


# ---------------------------------------------------------------------------------------------------------------- the two sides


class Client:
    """One session of one side. Remembers, in order, what its watches told it."""

    def __init__(self, host, client_id=None):
        self.host, self.events = host, []
        retry = {"max_tries": -1, "delay": 0.02, "backoff": 1, "max_delay": 0.1, "max_jitter": 0.0}
        self.zk = KazooClient(hosts=host, timeout=SESSION_SECONDS, client_id=client_id, connection_retry=retry)
        self.zk._connection._read_watch_event = self.remember
        self.zk.start(timeout=ANSWER_SECONDS)
        self.id = self.zk.client_id

    def remember(self, answer, at):
        type, state = struct.unpack_from("!ii", answer, at)
        path, _ = read_string(answer, at + 8)
        self.events.append((EVENTS.get(type, type), state, path))

    def send(self, request):
        result = self.zk.handler.async_result()
        self.zk._call(request, result)
        return result

    def answer(self, result):
        """What was answered, or which error. After it the client is connected again, if it was not."""
        try:
            return result.get(timeout=ANSWER_SECONDS)
        except ConnectionLoss:
            if not self.zk._live.wait(ANSWER_SECONDS):
                return "no connection any more"
            self.lost()
            return "ConnectionLoss"
        except AuthFailedError:
            self.shut()
            events = self.events
            self.__init__(self.host, self.id)
            self.events = events
            return "AuthFailedError"
        except KazooException as error:
            return type(error).__name__
        except Exception as error:  # what cannot be read is an answer, too, and no good one
            return f"unreadable: {error!r}"

    def lost(self):
        """Did the session survive?"""
        if self.zk.client_id[0] != self.id[0]:
            self.id = self.zk.client_id
            self.events.append("a new session")

    def take_events(self):
        taken, self.events = self.events, []
        return taken

    def shut(self):
        self.zk.stop()
        self.zk.close()


class Side:
    def __init__(self, name, hosts):
        self.name = name
        self.clients = [Client(hosts[n % len(hosts)]) for n in range(CLIENTS)]
        self.times = {}

    def reopen(self, n):
        """The end of a session, and a new one."""
        events = self.clients[n].events
        self.clients[n].shut()
        self.clients[n] = Client(self.clients[n].host)
        self.clients[n].events = events

    def times_are_those_of(self, stat):
        """A transaction has one time: ctime goes with czxid, mtime with mzxid."""
        for zxid, milliseconds in ((stat.czxid, stat.ctime), (stat.mzxid, stat.mtime)):
            if self.times.setdefault(zxid, milliseconds) != milliseconds:
                return False
        return True


class Difference(Exception):
    pass


class Pairs:
    """Which number of one side is which of the other's; both ways, and for zxids in the same order."""

    def __init__(self, what, ordered):
        self.what, self.ordered = what, ordered
        self.there, self.back = {}, {}
        self.reals, self.ours = [], []

    def pair(self, real, ours):
        if self.there.get(real, ours) != ours or self.back.get(ours, real) != real:
            raise Difference(f"{self.what} {real:#x} was {self.there.get(real)!r} of ours, now it is {ours:#x}")
        if real in self.there:
            return
        self.there[real], self.back[ours] = ours, real
        if self.ordered:
            at = bisect.bisect(self.reals, real)
            if at != bisect.bisect(self.ours, ours):
                raise Difference(f"{self.what} {real:#x} and {ours:#x} of ours do not come in the same order")
            self.reals.insert(at, real)
            self.ours.insert(at, ours)


class Judge:
    def __init__(self, real, ours):
        self.sides = (real, ours)
        self.zxids, self.sessions = Pairs("zxid", True), Pairs("session", False)
        self.sessions.pair(0, 0)
        self.know_sessions()

    def know_sessions(self):
        for one, other in zip(*(side.clients for side in self.sides)):
            self.sessions.pair(one.id[0], other.id[0])

    def same(self, real, ours):
        """Raises `Difference` unless they say the same."""
        if isinstance(real, ZnodeStat) and isinstance(ours, ZnodeStat):
            return self.same_stat(real, ours)
        containers = isinstance(real, (list, tuple)) and type(real) is type(ours)
        if not containers and real != ours or containers and len(real) != len(ours):
            raise Difference("the answers differ")
        if containers:
            for one, other in zip(real, ours):
                self.same(one, other)

    def same_stat(self, real, ours):
        for field in ("version", "cversion", "aversion", "dataLength", "numChildren"):
            if getattr(real, field) != getattr(ours, field):
                raise Difference(f"{field} is {getattr(real, field)}, ours says {getattr(ours, field)}")
        for field in ("czxid", "mzxid", "pzxid"):
            try:
                self.zxids.pair(getattr(real, field), getattr(ours, field))
            except Difference as difference:
                raise Difference(f"{field}: {difference}") from None
        self.sessions.pair(real.ephemeralOwner, ours.ephemeralOwner)
        for side, stat in zip(self.sides, (real, ours)):
            if not side.times_are_those_of(stat):
                raise Difference(f"{side.name} gives one transaction two times: {stat}")


# ---------------------------------------------------------------------------------------------------------------- what is played

OPEN = [(31, "world", "anyone")]
USERS = ["ann:one", "bob:two"]
NAMES = ["a", "b", "c", "dd", "é", "日本", "😀", "x y", "n-"]
BAD_PATHS = ["", "a", "a/b", "//", "/a/", "/a//b", "//a", "/.", "/..", "/a/.", "/a/../b", "/./a", "/a\0b", "/\0", "/\x01", "/\x1f", "/\x7f"]
BAD_PATHS += ["/\x9f", "/\ue000", "/\uf8ff", "/\ufff0", "/\uffff", "/...", "/.a", "/a.", "/zookeeper", "/zookeeper/quota", "/zookeeper/quota/a", "/"]
PERSISTENT, EPHEMERAL, SEQUENCE, EPHEMERAL_SEQUENCE, CONTAINER, TTL, TTL_SEQUENCE = range(7)


def digest(user):
    return user.split(":")[0] + ":" + base64.b64encode(hashlib.sha1(user.encode()).digest()).decode()


class Play:
    """Draws the operations. What it draws depends on the seed and on the answers of the real ZooKeeper."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.known, self.base = {}, "/r"
        self.client, self.modes = 0, {}
        self.zxids = [(0, 0)]
        self.kinds = {
            self.create: 24, self.delete: 14, self.set: 12, self.exists: 8, self.get: 10, self.get_children: 10, self.get_acl: 3,
            self.set_acl: 3, self.multi: 12, self.sync: 1, self.auth: 1, self.add_watch: 5, self.remove_watches: 2, self.set_watches: 1,
            self.ephemerals: 1, self.count: 1, self.who: 0.5, self.multi_read: 2, self.big: 0.1, self.odd: 0.3,
        }  # fmt: skip

    def next(self, client):
        self.client = client
        kinds = list(self.kinds)
        return self.random.choices(kinds, [self.kinds[kind] for kind in kinds])[0]()

    def fresh(self, n):
        self.base, self.known = f"/r{n}", {f"/r{n}": None}
        return self.make_create(1, self.base, b"", OPEN, PERSISTENT)

    def learn(self, request, answer):
        if request.path is None:
            return
        if answer == "NoNodeError" or request.type == 2 and answer is None:
            self.known.pop(request.path, None)
        elif request.type in CREATIONS and (isinstance(answer, tuple) or str(answer).startswith("/")):
            self.known[answer if isinstance(answer, str) else answer[0]] = None

    # Paths, data, versions, ACLs.

    def path(self):
        drawn = self.random.random()
        if drawn < 0.02:
            return self.random.choice(BAD_PATHS)
        if drawn < 0.03:
            return self.base + self.random.choice(BAD_PATHS)
        if drawn < 0.032:
            return self.base + "/deep" * self.random.choice([50, 1000])
        if drawn < 0.75 and self.known:
            # The newest, again and again: so that what one watches another changes.
            known = list(self.known)
            return self.random.choice(known[-10:] if self.random.random() < 0.6 else known)
        return self.new_path()

    def new_path(self):
        parent = self.random.choice(list(self.known)) if self.known and self.random.random() < 0.6 else self.base
        parent = parent if parent.count("/") < 6 else self.base
        return f"{parent}/{self.random.choice(NAMES)}"

    def data(self):
        return self.random.choice([None, b"", b"x", b"\0\xff", bytes(self.random.randrange(40)), bytes(2000)])

    def version(self):
        return self.random.choice([-1, -1, -1, 0, 0, 1, 2, 3, -2, 2**31 - 1])

    def acl(self):
        if self.random.random() < 0.8:
            return OPEN
        user = digest(self.random.choice(USERS))
        perms = self.random.choice([31, 1, 3, 7, 15, 16, 17, 30, 0, 32, -1])
        one = self.random.choice([(perms, "world", "anyone"), (31, "auth", ""), (perms, "auth", "whoever"), (perms, "digest", user)])
        odd = [(31, "world", "nobody"), (31, "nothing", "x"), (31, "digest", "nocolon"), (31, "digest", "a:b:c"), (31, "", "")]
        odd += [(31, "ip", "127.0.0.1"), (31, "ip", "10.0.0.0/8"), (31, "ip", "300.1.1.1"), (31, "ip", "1.2.3.4/33"), (31, "digest", "")]
        odd += [(perms, None, "x"), (31, "world", None), (31, "digest", None), (perms, "ip", None), (31, "nothing", None)]
        other = self.random.choice([[], OPEN, OPEN, [one], [self.random.choice(odd)], [(1, "world", "anyone")]])
        return self.random.choice([[one] + other, [one] + other, other, other + [one], None if self.random.random() < 0.2 else [one]])

    # Requests.

    def make_create(self, type, path, data, acl, flags, ttl=None):
        body = string(path) + buffer(data) + vector(acl, acl_entry) + number(flags) + (long(ttl) if type == 21 else b"")
        words = f"create[{type}] {short(path)} data {short(data)} acl {acl} flags {flags} ttl {ttl}"
        answer = read_string if type == 1 else both(read_string, a_stat)
        return Request(type, body, answer, words, path, True, has_nulls(acl))

    def create(self, in_multi=False):
        type = self.random.choices([1, 15, 19, 21], [50, 30, 8, 12])[0]
        flags = self.random.choices(range(-1, 8), [0.5, 50, 20, 15, 15, 0.5, 0.5, 0.5, 0.5])[0]
        ttl = self.random.choice([3_600_000, 3_600_000, 3_600_000, 2**40 - 1, 2**40, 0, -1])
        if type in (19, 21) and self.random.random() < 0.8:
            flags = CONTAINER if type == 19 else self.random.choice([TTL, TTL_SEQUENCE])
        if type == 21 and flags not in (TTL, TTL_SEQUENCE) and not in_multi:
            ttl = abs(ttl)  # Tolerated.TTL_WITHOUT_ITS_FLAG
        path = self.path() if self.random.random() < 0.2 else self.new_path()
        path = None if self.random.random() < 0.005 else path
        return self.make_create(type, path, self.data(), self.acl(), flags, ttl)

    def make_delete(self, path, version):
        return Request(2, string(path) + number(version), nothing, f"delete {short(path)} version {version}", path, True)

    def delete(self):
        # The newest are seldom parents.
        path = self.path() if len(self.known) < 5 or self.random.random() < 0.4 else self.random.choice(list(self.known)[-20:])
        path = None if self.random.random() < 0.005 else path
        return self.make_delete(path, self.version())

    def make_set(self, path, data, version):
        body = string(path) + buffer(data) + number(version)
        return Request(5, body, a_stat, f"set {short(path)} data {short(data)} version {version}", None, True)

    def set(self):
        path = None if self.random.random() < 0.005 else self.path()
        return self.make_set(path, self.data(), self.version())

    def read(self, type, answer, words, *, watch=True, path=None):
        path, watched = path or self.path(), watch and self.random.random() < 0.35 and not self.is_persistent()
        body = string(path) + (flag(watched) if watch else b"")
        return Request(type, body, answer, f"{words} {short(path)}{' watch' if watched else ''}", path)

    def exists(self):
        return self.read(3, a_stat, "exists")

    def get(self):
        return self.read(4, both(read_buffer, a_stat), "get")

    def get_children(self):
        if self.random.random() < 0.5:
            return self.read(8, children, "children")
        return self.read(12, both(children, a_stat), "children2")

    def get_acl(self):
        return self.read(6, both(an_acl, a_stat), "get acl", watch=False)

    def set_acl(self):
        path, acl, version = self.path(), self.acl(), self.version()
        if path in ("/", "/zookeeper", "/zookeeper/quota"):
            acl = OPEN
        path = None if self.random.random() < 0.005 else path
        body = string(path) + vector(acl, acl_entry) + number(version)
        return Request(7, body, a_stat, f"set acl {short(path)} {acl} version {version}", None, True, has_nulls(acl))

    def multi(self):
        parts = []
        for _ in range(self.random.randrange(6)):
            path, version = self.path(), self.version()
            check = Request(13, string(path) + number(version), nothing, f"check {short(path)} version {version}")
            parts.append(self.random.choice([check, self.create(True), self.create(True), self.delete(), self.set()]))
        if self.random.random() < 0.01:
            parts.insert(self.random.randrange(len(parts) + 1), self.get())
        body = b"".join(number(part.type) + flag(False) + number(-1) + part.body for part in parts)
        words = "multi [" + "; ".join(part.words for part in parts) + "]"
        nulls = any(part.nulls for part in parts)
        return Request(14, body + number(-1) + flag(True) + number(-1), results, words, None, True, nulls)

    def multi_read(self):
        parts = [self.random.choice([self.get, self.get_children])() for _ in range(self.random.randrange(5))]
        parts = [part for part in parts if part.type in (4, 8)]
        if self.random.random() < 0.05:
            parts.insert(self.random.randrange(len(parts) + 1), self.random.choice([self.delete, self.get_acl])())
        body = b"".join(number(part.type) + flag(False) + number(-1) + part.body for part in parts)
        words = "multi read [" + "; ".join(part.words for part in parts) + "]"
        return Request(22, body + number(-1) + flag(True) + number(-1), results, words)

    def sync(self):
        return self.read(9, read_string, "sync", watch=False)

    def auth(self):
        user = self.random.choice(USERS + ["nocolon", "", "a:b:c"])
        scheme = self.random.choices(["digest", "world", "ip", "nothing", "auth", ""], [30, 1, 1, 1, 1, 1])[0]
        return Request(100, number(0) + string(scheme) + string(user), nothing, f"auth {scheme} {user}")

    def is_persistent(self):
        """Tolerated.ONE_MODE_A_PATH"""
        return self.client == CLIENTS - 1

    def add_watch(self):
        path, mode = self.path(), self.random.choices([0, 1, 2, -1], [20, 20, 1, 1])[0]
        if not self.is_persistent():
            mode = 2
        if mode in (0, 1):
            mode = self.modes.setdefault(path, mode)
        return Request(106, string(path) + number(mode), a_number, f"add watch {short(path)} mode {mode}")

    def remove_watches(self):
        path, type, kind = self.path(), self.random.choice([17, 18, 18]), self.random.choice([1, 2, 3])
        kind = 3 if self.is_persistent() else kind
        words = f"{'check' if type == 17 else 'remove'} watches {short(path)} kind {kind}"
        return Request(type, string(path) + number(kind), nothing, words, path)

    def set_watches(self):
        """As a client that reconnects brings them along. The zxid is each side's own: one body a side."""
        type, zxids = self.random.choice([101, 105]), self.random.choice(self.zxids)
        if self.is_persistent():
            return self.add_watch()
        lists = [[self.path() or "/" for _ in range(self.random.randrange(3))] for _ in range(3)] + ([[], []] if type == 105 else [])
        tail = b"".join(vector(paths, string) for paths in lists)
        request = Request(type, b"", nothing, f"set watches[{type}] since {zxids} {[[short(path) for path in paths] for paths in lists]}")
        request.bodies = [long(zxid) + tail for zxid in zxids]
        return request

    def ephemerals(self):
        path = self.random.choice(["/", self.base, self.path() or ""])
        return Request(103, string(path), children, f"ephemerals {short(path)}")

    def count(self):
        return self.read(104, a_number, "count", watch=False)

    def who(self):
        return Request(107, b"", identities, "who am i")

    def big(self):
        """At the edge of the longest packet: the header's two numbers, the path, the data's length, the data, the version."""
        path = self.base + "/big"
        rest = 8 + len(string(path)) + 4 + 4
        return self.make_set(path, bytes(PACKET_MAX - rest + self.random.choice([-1, 0, 1])), -1)

    def odd(self):
        """What no client sends."""
        type = self.random.choice([16, 99, 23, -5, 0])
        bodies = [b"", string("/a") + number(0), bytes(40)]
        return Request(type, self.random.choice(bodies), nothing, f"operation {type}")


def has_nulls(acl):
    return any(None in entry for entry in acl or ())


def short(value):
    """For people: long paths and data by their length."""
    if isinstance(value, (bytes, str)) and len(value) > 60:
        return f"{value[:20]!r}… ({len(value)})"
    return repr(value)


# ---------------------------------------------------------------------------------------------------------------- the match


class Match:
    def __init__(self, options):
        self.sides = [Side("ZooKeeper", [options.real]), Side("ours", options.ours.split(","))]
        self.judge, self.play = Judge(*self.sides), Play(options.seed)
        self.random = random.Random(options.seed + 1)
        self.options, self.history = options, collections.deque(maxlen=HISTORY)
        self.answers, self.events = collections.Counter(), 0

    def run(self):
        for n in range(self.options.operations):
            if n % ROUND == 0:
                self.ask(n, 0, self.play.fresh(n // ROUND))
                self.ask(n, 0, self.play.make_create(1, self.play.base + "/big", b"", OPEN, PERSISTENT))
            client, drawn = self.random.randrange(CLIENTS), self.random.random()
            if drawn < 0.004:
                self.note(n, client, "closes its session and opens another")
                self.reopen(client)
            elif drawn < 0.006:
                self.note(n, client, "loses its connection and comes back")
                self.reconnect(client)
            else:
                self.ask(n, client, self.play.next(client))

    def note(self, n, client, words):
        self.history.append([n, client, words, None, None])

    def ask(self, n, client, request):
        self.note(n, client, str(request))
        pair = [side.clients[client] for side in self.sides]
        requests = [request, request]
        if hasattr(request, "bodies"):
            requests = [Request(request.type, body, request.answer, request.words) for body in request.bodies]
        sent = [one.send(wanted) for one, wanted in zip(pair, requests)]
        answers = [one.answer(result) for one, result in zip(pair, sent)]
        self.history[-1][3:] = answers
        meant = Tolerated.answers(request, *answers)
        if not meant:
            self.judge.same(*answers)
        elif meant == Tolerated.EXISTS_NEEDS_READ and request.words.endswith(" watch"):
            self.forget_watches(pair, request.path)
        self.count(request, answers[0] if not meant else f"tolerated, {meant}")
        self.play.learn(request, answers[0])
        if request.writes and not (isinstance(answers[0], str) and answers[0].endswith("Error")):
            self.everyone_syncs()
        if answers[0] == "UnimplementedError":  # the connection ends with it, sooner or later
            return self.reconnect(client)
        if request.type in (101, 105):
            self.leave_out_what_may_not_be_read(*pair)
        self.watches_told_the_same()

    def leave_out_what_may_not_be_read(self, real, ours):
        """Tolerated.SET_WATCHES_NEEDS_READ"""
        for event in [event for event in real.events if event not in ours.events]:
            path = event[2]
            if ours.answer(ours.send(Request(4, string(path) + flag(False), both(read_buffer, a_stat)))) == "NoAuthError":
                real.events = [event for event in real.events if event[2] != path]

    def forget_watches(self, pair, path):
        for one in pair:
            one.answer(one.send(Request(18, string(path) + number(2))))

    def count(self, request, answer):
        words = answer if isinstance(answer, str) and not answer.startswith("/") else "done"
        self.answers[f"{request.words.split(' ')[0]}: {words}"] += 1
        if self.judge.zxids.reals:
            at = -1 if len(self.judge.zxids.reals) < 20 else self.random.randrange(-20, 0)
            self.play.zxids.append((self.judge.zxids.reals[at], self.judge.zxids.ours[at]))
            del self.play.zxids[:-20]

    def everyone_syncs(self):
        barrier = Request(9, string("/"), read_string, "sync")
        sent = [(client, client.send(barrier)) for side in self.sides for client in side.clients]
        for client, result in sent:
            if client.answer(result) != "/":
                raise Difference(f"sync fails at {client.host}")

    def watches_told_the_same(self, any_order=False):
        for n, (one, other) in enumerate(zip(*(side.clients for side in self.sides))):
            real, ours = one.take_events(), other.take_events()
            self.events += len(real)
            if any_order:  # Tolerated.ORDER_OF_A_SESSIONS_EPHEMERALS
                real, ours = sorted(real), sorted(ours)
            if real != ours:
                raise Difference(f"the watches of client {n} told\n    ZooKeeper's: {real}\n    ours:        {ours}")

    def reopen(self, client):
        for side in self.sides:
            side.reopen(client)
        self.judge.know_sessions()
        self.everyone_syncs()
        self.watches_told_the_same(any_order=True)

    def reconnect(self, client):
        for side in self.sides:
            one = side.clients[client]
            one.answer(one.send(_CONNECTION_DROP))
        self.judge.know_sessions()
        self.everyone_syncs()
        self.watches_told_the_same()

    def report(self, difference):
        print(f"DIFFERENCE at operation {self.history[-1][0]}, seed {self.options.seed}: {difference}\nThe last operations:")
        for n, client, words, real, ours in self.history:
            print(f"  {n} client {client}: {words}")
            if repr(real) == repr(ours):
                print(f"      both: {say(real)}")
            else:
                print(f"      ZooKeeper: {say(real)}\n      ours:      {say(ours)}")
        print(f"seed {self.options.seed}, operation {self.history[-1][0]}: {difference}")

    def close(self):
        for side in self.sides:
            for client in side.clients:
                client.shut()


def say(answer):
    text = repr(answer)
    return text if len(text) < 800 else f"{text[:400]}… ({len(text)})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    match, began = Match(options), time.monotonic()
    try:
        match.run()
    except Difference as difference:
        match.report(difference)
        sys.exit(1)
    match.close()
    for words, count in sorted(match.answers.items()):
        print(f"  {count:7} {words}")
    took = time.monotonic() - began
    print(f"differential: seed {options.seed}, {options.operations} operations, {match.events} events, no difference, {took:.0f} s")


main()
