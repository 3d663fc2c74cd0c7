"""The checks of test/clients with stomp.py. See ../doc.go for what each one means."""

import os
import queue
import socket
import sys
import time
import traceback

import stomp
from stomp.exception import ConnectFailedException

HOST = os.environ["STOMP_HOST"]
PORT = int(os.environ["STOMP_PORT"])
LOGIN = os.environ.get("STOMP_LOGIN", "guest")
PASSCODE = os.environ.get("STOMP_PASSCODE", "guest")
VHOST = os.environ.get("STOMP_VHOST", "localhost")
PREFIX = os.environ["STOMP_PREFIX"]
VERSION = os.environ["STOMP_VERSION"]
TLS = os.environ.get("STOMP_URL", "").startswith("ssl:")  # the certificate is not checked
WAIT = 10  # seconds for anything that must come

TEXT = "Grüße, 世界 🐇"


class Client(stomp.ConnectionListener):
    """A connection whose messages, receipts and errors are waited for one by one."""

    def __init__(self, **options):
        self.messages, self.receipts, self.errors = queue.Queue(), queue.Queue(), queue.Queue()
        self.ended, self.beats, self.beatless = queue.Queue(), 0, False
        kind = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}[VERSION]
        if VERSION != "1.0":
            options.setdefault("vhost", VHOST)
        self.c = kind([(HOST, PORT)], reconnect_attempts_max=1, **options)
        if TLS:
            self.c.set_ssl([(HOST, PORT)])
        self.c.set_listener("checks", self)
        self.serial = 0
        self.c.connect(LOGIN, PASSCODE, wait=True)

    def on_connected(self, frame):
        self.connected = frame

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_heartbeat(self):
        self.beats += 1

    def on_heartbeat_timeout(self):
        self.beatless = True

    def on_disconnected(self):
        self.ended.put(True)

    def receipt(self):
        self.serial += 1
        return f"r{self.serial}"

    def confirmed(self, receipt):
        got = self.receipts.get(timeout=WAIT)
        assert got == receipt, f"receipt {got}, want {receipt}"

    def send(self, destination, body, **headers):
        receipt = self.receipt()
        self.c.send(destination, body, receipt=receipt, **headers)
        self.confirmed(receipt)

    def subscribe(self, destination, ack="auto", id="s1"):
        receipt = self.receipt()
        self.c.subscribe(destination, id=id, ack=ack, headers={"receipt": receipt})
        self.confirmed(receipt)

    def message(self):
        return self.messages.get(timeout=WAIT)

    def expect(self, *bodies):
        frames = [self.message() for _ in bodies]
        got = [f.body for f in frames]
        assert got == list(bodies), f"got {got}, want {list(bodies)}"
        return frames

    def settle(self, command, frame, **headers):
        """ACK or NACK, as the version says it, confirmed by its receipt."""
        receipt = self.receipt()
        h = frame.headers
        if VERSION == "1.2":
            headers["id"] = h["ack"]
        else:
            headers["message-id"] = h["message-id"]
            if VERSION == "1.1":
                headers["subscription"] = h["subscription"]
        headers["receipt"] = receipt
        self.c.send_frame(command, headers)
        self.confirmed(receipt)

    def ack(self, frame, **headers):
        """The library's own call, then a receipt to know that it was taken."""
        h = frame.headers
        if VERSION == "1.2":
            self.c.ack(h["ack"], **headers)
        elif VERSION == "1.1":
            self.c.ack(h["message-id"], h["subscription"], **headers)
        else:
            self.c.ack(h["message-id"], **headers)

    def leave(self):
        receipt = self.receipt()
        self.c.disconnect(receipt=receipt)
        self.confirmed(receipt)

    def vanish(self):
        """The socket ends without DISCONNECT, as when the process is killed."""
        self.c.transport.socket.shutdown(socket.SHUT_RDWR)
        self.ended.get(timeout=WAIT)


def connect():
    c = Client()
    if VERSION == "1.0":
        assert c.connected.headers.get("version", "1.0") == "1.0", c.connected.headers
    else:
        assert c.connected.headers["version"] == VERSION, c.connected.headers
    assert c.connected.headers["session"]
    c.leave()


def heart_beat():
    c = Client(heartbeats=(300, 300), heart_beat_receive_scale=15)
    time.sleep(6)  # longer than either side waits for a beat, which a busy machine may keep back
    assert not c.beatless and c.c.is_connected(), "the connection did not last"
    assert c.beats >= 2, f"{c.beats} beats came"
    c.subscribe(PREFIX + "beat")
    c.send(PREFIX + "beat", "alive")
    c.expect("alive")
    c.leave()


def text():
    c = Client()
    c.subscribe(PREFIX + "text")
    for body in (TEXT, "", "a", "ends in newline\n", TEXT * 5000):
        c.send(PREFIX + "text", body, content_type="text/plain")
        m = c.message()
        assert m.body == body, f"{len(m.body)} characters, want {len(body)}"
        assert m.headers["content-type"] == "text/plain"
        assert int(m.headers.get("content-length", len(body.encode()))) == len(body.encode())
        assert m.headers["destination"] == PREFIX + "text"
        assert m.headers["message-id"]
    c.leave()


def headers():
    c = Client()
    c.subscribe(PREFIX + "headers")
    want = {"plain": "value", "utf-8": TEXT, "name-ü": "1"}
    if VERSION != "1.0":
        want |= {"colon": "a:b::c", "lines": "one\ntwo\n", "backslash": "\\n \\c \\", "empty": "", "spaces": " both sides "}
    if VERSION == "1.2":
        want["return"] = "a\r\nb\r"
    c.send(PREFIX + "headers", "x", headers=want)
    got = c.message().headers
    for name, value in want.items():
        assert got.get(name) == value, f"{name}: {got.get(name)!r}, want {value!r}"
    c.leave()


def binary():
    c = Client(auto_decode=False)
    c.subscribe(PREFIX + "binary")
    for body in (b"\x00", b"a\x00b\x00\x00", bytes(range(256)) * 300, b"\n\x00\n"):
        c.send(PREFIX + "binary", body)
        got = c.message().body
        assert got == body, f"{len(got)} bytes, want {len(body)}"
    c.leave()


def receipts():
    c = Client()
    for i in range(100):
        c.c.send(PREFIX + "receipts", str(i), receipt=f"n{i}")
    for i in range(100):
        c.confirmed(f"n{i}")
    c.c.subscribe(PREFIX + "receipts", id="s1", headers={"receipt": "sub"})
    c.confirmed("sub")
    for i in range(100):
        c.expect(str(i))
    c.c.unsubscribe(**({"destination": PREFIX + "receipts"} if VERSION == "1.0" else {"id": "s1"}), receipt="unsub")
    c.confirmed("unsub")
    c.leave()


def order():
    c = Client()
    c.subscribe(PREFIX + "order")
    for i in range(1000):
        c.c.send(PREFIX + "order", str(i))
    for i in range(1000):
        c.expect(str(i))
    c.leave()


def fill(destination, *bodies):
    c = Client()
    for b in bodies:
        c.send(destination, b)
    c.leave()


def ack_client():
    q = PREFIX + "ack-client"
    fill(q, "1", "2", "3")
    c = Client()
    c.subscribe(q, ack="client")
    frames = c.expect("1", "2", "3")
    c.ack(frames[1])  # and with it the first
    c.leave()
    fill(q, "end")
    c = Client()
    c.subscribe(q)
    m, _ = c.expect("3", "end")
    assert m.headers.get("redelivered") == "true", m.headers
    c.leave()


def ack_individual():
    q = PREFIX + "ack-individual"
    fill(q, "1", "2", "3")
    c = Client()
    c.subscribe(q, ack="client-individual")
    frames = c.expect("1", "2", "3")
    c.ack(frames[1])
    c.leave()
    fill(q, "end")
    c = Client()
    c.subscribe(q)
    c.expect("1", "3", "end")
    c.leave()


def nack():
    q = PREFIX + "nack"
    fill(q, "again")
    c = Client()
    c.subscribe(q, ack="client-individual")
    m, = c.expect("again")
    assert m.headers.get("redelivered", "false") == "false", m.headers
    if VERSION == "1.0":
        c.c.send_frame("NACK", {"message-id": m.headers["message-id"]})
    elif VERSION == "1.1":
        c.c.nack(m.headers["message-id"], m.headers["subscription"])
    else:
        c.c.nack(m.headers["ack"])
    m, = c.expect("again")
    assert m.headers.get("redelivered") == "true", m.headers
    c.settle("ACK", m)
    c.leave()


def commit():
    q, other = PREFIX + "commit", PREFIX + "commit-in"
    fill(other, "in")
    c, reader = Client(), Client()
    reader.subscribe(q)
    c.subscribe(other, ack="client-individual")
    m, = c.expect("in")
    c.c.begin(transaction="t1")
    c.c.send(q, "one", transaction="t1")
    c.c.send(q, "two", transaction="t1")
    c.ack(m, transaction="t1")
    c.send(q, "outside")
    reader.expect("outside")  # sent last, seen first: the others wait for their commit
    c.c.commit(transaction="t1", receipt="commit")
    c.confirmed("commit")
    reader.expect("one", "two")
    c.leave()
    fill(other, "end")
    reader.subscribe(other, id="s2")
    reader.expect("end")  # "in" was acknowledged by the commit
    reader.leave()


def abort():
    q, other = PREFIX + "abort", PREFIX + "abort-in"
    fill(other, "in")
    c, reader = Client(), Client()
    reader.subscribe(q)
    c.subscribe(other, ack="client-individual")
    m, = c.expect("in")
    c.c.begin(transaction="t1")
    c.c.send(q, "never", transaction="t1")
    c.ack(m, transaction="t1")
    c.c.abort(transaction="t1", receipt="abort")
    c.confirmed("abort")
    c.send(q, "end")
    reader.expect("end")
    c.leave()
    reader.subscribe(other, id="s2")
    m, = reader.expect("in")  # its ack was never given
    assert m.headers.get("redelivered") == "true", m.headers
    reader.leave()


def clean_leave():
    q = PREFIX + "clean-leave"
    fill(q, "1", "2")
    c, other = Client(), Client()
    c.subscribe(q, ack="client")
    c.expect("1", "2")
    other.subscribe(q, ack="client-individual")
    c.leave()  # waits for the receipt of DISCONNECT
    for m in other.expect("1", "2"):
        assert m.headers.get("redelivered") == "true", m.headers
        other.settle("ACK", m)
    other.leave()


def unclean_leave():
    q = PREFIX + "unclean-leave"
    fill(q, "1", "2")
    c, other = Client(), Client()
    c.subscribe(q, ack="client-individual")
    c.expect("1", "2")
    c.c.begin(transaction="t1")
    c.c.send(q, "never", transaction="t1")
    other.subscribe(q, ack="client-individual")
    c.vanish()
    for m in other.expect("1", "2"):
        assert m.headers.get("redelivered") == "true", m.headers
        other.settle("ACK", m)
    other.send(q, "end")
    other.settle("ACK", *other.expect("end"))
    other.leave()


def topic():
    t = PREFIX.replace("/queue/", "/topic/") + "topic"
    readers = [Client() for _ in range(3)]
    for r in readers:
        r.subscribe(t)
    for i in range(20):
        readers[0].c.send(t, f"{i} {TEXT}")
    for r in readers:
        r.expect(*(f"{i} {TEXT}" for i in range(20)))
    for r in readers:
        r.leave()


def error():
    c = Client()
    c.c.send(PREFIX + "error", "x", transaction="no-such", receipt="e1")
    f = c.errors.get(timeout=WAIT)
    assert f.headers["message"], f.headers
    assert f.headers.get("receipt-id") == "e1", f.headers
    assert f.headers.get("error-code", "transaction-unknown") == "transaction-unknown", f.headers
    assert "no-such" in f.headers["message"] + (f.body or ""), (f.headers, f.body)
    c.ended.get(timeout=WAIT)  # an ERROR is the last frame
    try:
        Client(auto_decode=False).leave()
    except ConnectFailedException:
        raise AssertionError("the server is gone")


def activemq():
    """As the clients of ActiveMQ do it: selector, schedule, group, durable subscription, browser, advisory."""
    q, t = PREFIX + "amq", "/topic/clients.amq"
    c = Client()
    c.c.subscribe(q, id="s1", ack="client-individual", headers={"selector": "color = 'red'", "activemq.prefetchSize": "5", "receipt": "sub"})
    c.confirmed("sub")
    c.send(q, "blue", color="blue")
    c.send(q, "later", color="red", AMQ_SCHEDULED_DELAY="200")
    c.send(q, "red", color="red", JMSXGroupID="g", persistent="true", priority="7")
    for f in c.expect("red", "later"):
        c.settle("ACK", f)
    b = Client()
    b.c.subscribe(q, id="b", headers={"browser": "true", "ack": "client"})
    b.expect("blue")
    assert b.message().headers["browser"] == "end"
    b.leave()
    d = Client()
    d.c.subscribe(t, id="d", headers={"activemq.subscriptionName": "news", "receipt": "d"})
    d.confirmed("d")
    d.leave()
    c.send("topic://clients.amq", "while away", expires=str(int(time.time() * 1000) + 600000))
    d = Client()
    d.c.subscribe(t, id="d", headers={"activemq.subscriptionName": "news"})
    d.expect("while away")
    d.leave()
    c.leave()


def rabbitmq():
    """As those of RabbitMQ do it: exchanges, a temporary queue for replies, properties of a queue, dead letters."""
    c = Client()
    c.c.subscribe("/exchange/amq.topic/clients.*.x", id="t", headers={"receipt": "t"})
    c.confirmed("t")
    c.send("/exchange/amq.topic/clients.a.x", "topic")
    c.expect("topic")
    server = Client()
    server.c.subscribe(PREFIX + "rpc", id="rpc", headers={"receipt": "rpc", "auto-delete": "true"})
    server.confirmed("rpc")
    c.send(PREFIX + "rpc", "question", **{"reply-to": "/temp-queue/answers", "correlation-id": "7"})
    asked = server.message()
    server.send(asked.headers["reply-to"], "answer", **{"correlation-id": asked.headers["correlation-id"]})
    answer = c.message()
    assert answer.body == "answer" and answer.headers["subscription"] == "/temp-queue/answers", answer.headers
    assert answer.headers["correlation-id"] == "7", answer.headers
    q, dead = PREFIX + "limited", PREFIX + "dead"
    c.c.subscribe(q, id="q", ack="client-individual", headers={
        "x-max-length": "10", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead[len("/queue/"):],
        "prefetch-count": "1", "x-message-ttl": "600000", "receipt": "q"})
    c.confirmed("q")
    c.send(q, "poison", expiration="60000")
    c.settle("NACK", c.expect("poison")[0], requeue="false")
    c.subscribe(dead, id="dead")
    died = c.expect("poison")[0].headers
    assert died["x-first-death-queue"] == q and died["x-death-reason"] == "rejected", died
    server.leave()
    c.leave()


def artemis():
    """As those of Artemis do it: bare names with a type, de-duplication, scheduled delivery, a shared subscription."""
    c = Client()
    c.c.subscribe("clients.artemis", id="q", headers={"subscription-type": "ANYCAST", "receipt": "q"})
    c.confirmed("q")
    for _ in range(2):
        c.send("clients.artemis", "once", **{"destination-type": "ANYCAST", "_AMQ_DUPL_ID": "1"})
    c.send("jms.queue.clients.artemis", "later", _AMQ_SCHED_DELIVERY=str(int(time.time() * 1000) + 200))
    c.expect("once", "later")
    c.c.subscribe("clients.news", id="d", headers={"subscription-type": "MULTICAST", "durable-subscription-name": "artemis", "receipt": "d"})
    c.confirmed("d")
    c.send("clients.news", "news", **{"destination-type": "MULTICAST"})
    c.expect("news")
    c.leave()


def apollo():
    """As those of Apollo do it: lists of destinations, an exclusive consumer, credit, a queue that is kept small."""
    c = Client()
    a, b = PREFIX + "apollo.a", PREFIX + "apollo.b"
    c.c.subscribe(a + "," + b, id="both", ack="client-individual", headers={"exclusive": "true", "credit": "2,0", "receipt": "sub"})
    c.confirmed("sub")
    c.send(a + "," + b, "twice", message_group="g")
    for f in c.expect("twice", "twice"):
        c.settle("ACK", f)
    c.send("/topic/clients.apollo", "kept", retain="set")
    c.subscribe("/topic/clients.*", id="late")
    kept = c.message()
    assert kept.body == "kept" and kept.headers["retained"] == "true", kept.headers
    c.leave()


def topics():
    """Wildcards of each broker, groups that share, a durable subscription that is left, taken up and destroyed."""
    c, other = Client(), Client()
    for i, pattern in enumerate(("/topic/py.*.end", "topic://py.>", "/exchange/amq.topic/py.#", "jms.topic.py.a.end")):
        c.subscribe(pattern, id=f"w{i}")
    other.send("/topic/py.a.end", "all")
    assert sorted(f.headers["subscription"] for f in c.expect(*["all"] * 4)) == ["w0", "w1", "w2", "w3"]
    c.leave()
    c = Client()
    for who in (c, other):
        who.c.subscribe("/topic/py.jobs.*" if who is c else "$share/g/py.jobs.*", id="g", headers={"group": "g", "receipt": "g"})
        who.confirmed("g")
    other.send("/topic/py.jobs.a", "1")
    other.send("/topic/py.jobs.b", "2")
    c.expect("1")
    other.expect("2")
    c.leave()
    for spelling in ({"durable": "true", "id": "py"}, {"activemq.subscriptionName": "py", "id": "x"}):
        c = Client()
        c.c.subscribe("/topic/py.news", ack="auto", headers={**spelling, "receipt": "d"}, id=spelling["id"])
        c.confirmed("d")
        if "durable" in spelling:
            c.c.unsubscribe(id="py", receipt="u")
            c.confirmed("u")
            other.send("/topic/py.news", "kept")
        else:
            c.expect("kept")
            c.c.unsubscribe(id="x", receipt="u", headers={"activemq.subscriptionName": "py"})
            c.confirmed("u")
            other.send("/topic/py.news", "nobody's")
            c.c.subscribe("/topic/py.news", id="x", headers={"activemq.subscriptionName": "py", "receipt": "again"})
            c.confirmed("again")
            other.send("/topic/py.news", "new")
            c.expect("new")
        c.leave()
    other.leave()


def replies():
    """A temporary queue of ActiveMQ's clients, which ends with its connection, and what nobody would get."""
    c, server = Client(), Client()
    c.subscribe("/temp-queue/mine", id="mine")
    server.subscribe(PREFIX + "ask")
    c.send(PREFIX + "ask", "question", **{"reply-to": "/temp-queue/mine"})
    to = server.message().headers["reply-to"]
    server.send(to.replace("/reply-queue/", "/remote-temp-queue/"), "answer")
    c.expect("answer")
    thief = Client()
    thief.c.subscribe(to, id="t", headers={"receipt": "t"})
    assert thief.errors.get(timeout=WAIT).headers["error-code"] == "access-refused"
    c.leave()
    server.c.send(to, "late", receipt="late")
    e = server.errors.get(timeout=WAIT).headers
    assert e["message"] == "not_found" and e["receipt-id"] == "late", e
    c = Client()
    c.c.send("/topic/py.nobody", "x", mandatory="true", receipt="m")
    e = c.errors.get(timeout=WAIT).headers
    assert e["error-code"] == "unroutable" and e["receipt-id"] == "m", e


def replay():
    """A topic that keeps, read again from a place on, as RabbitMQ's streams are; and a queue browsed likewise."""
    c = Client()
    c.c.subscribe("/topic/py.kept", id="k", headers={"x-queue-type": "stream", "receipt": "k"})
    c.confirmed("k")
    for i in range(5):
        c.send("/topic/py.kept", str(i))
        c.send(PREFIX + "browsed", str(i))
    offset = int(c.expect(*"01234")[2].headers["x-stream-offset"])
    for header, value, want in (("from-seq", offset, "234"), ("x-stream-offset", f"offset={offset}", "234"), ("replay", "last=1", "4"), ("x-stream-offset", "first", "01234")):
        r = Client()
        r.c.subscribe("/topic/py.kept", id="r", headers={header: str(value)})
        r.expect(*want)
        r.leave()
    r = Client()
    r.c.subscribe(PREFIX + "browsed", id="b", headers={"browser": "true", "include-seq": "seq"})
    seqs = [int(f.headers["seq"]) for f in r.expect(*"01234")]
    assert r.message().headers["browser"] == "end"
    r.leave()
    r = Client()
    r.c.subscribe(PREFIX + "browsed", id="b", headers={"browser": "true", "from-seq": str(seqs[3])})
    r.expect("3", "4")
    assert r.message().headers["browser"] == "end"
    r.leave()
    c.leave()


def figures():
    """Events and figures, by this server's names and ActiveMQ's."""
    c = Client()
    c.subscribe("/topic/$sys/connect", id="own")
    c.subscribe("/topic/ActiveMQ.Advisory.Connection", id="amq")
    other = Client()
    told = set()
    while told != {"amq", "own"}:  # ActiveMQ's name tells of one that left, too: of a check before
        told.add(c.message().headers["subscription"])
    other.send(PREFIX + "counted", "1")
    queue_name = PREFIX[len("/queue/"):] + "counted"
    c.subscribe("/temp-queue/figures", id="f")
    for ask in ("/queue/$sys/stats/", "ActiveMQ.Statistics.Destination.", "/queue/ActiveMQ.Statistics.Destination."):
        c.send(ask + queue_name, "", **{"reply-to": "/temp-queue/figures"})
        f = next(f for f in iter(lambda: c.message().headers, None) if f["subscription"] == "f")
        assert f["size"] == "1" and f["enqueueCount"] == "1" and f["consumerCount"] == "0", f
    c.send("ActiveMQ.Statistics.Broker", "", **{"reply-to": "/temp-queue/figures"})
    assert int(c.message().headers["queues"]) > 0
    other.leave()
    assert c.message().headers["destination"] == "/topic/ActiveMQ.Advisory.Connection"
    c.leave()


PEERS = [
    ("ActiveMQ", activemq), ("RabbitMQ", rabbitmq), ("Artemis", artemis), ("Apollo", apollo),
    ("topics", topics), ("replies", replies), ("replay", replay), ("figures", figures),
]

CHECKS = [
    ("connect", connect), ("heart-beat", heart_beat), ("text", text), ("headers", headers), ("binary", binary),
    ("receipts", receipts), ("order", order), ("ack client", ack_client),
    ("ack client-individual", ack_individual), ("nack", nack), ("commit", commit), ("abort", abort),
    ("clean leave", clean_leave), ("unclean leave", unclean_leave), ("topic", topic), ("error", error),
]

if VERSION == "1.0":
    CHECKS = [c for c in CHECKS if c[0] != "heart-beat"]  # 1.0 knows none
if os.environ.get("STOMP_CHECKS") == "peers":
    CHECKS = PEERS

print(f"# stomp.py {'.'.join(map(str, stomp.__version__))}, STOMP {VERSION}")
for n, (name, run) in enumerate(CHECKS, 1):
    try:
        run()
        print(f"ok {n} - {name}", flush=True)
    except BaseException as e:
        why = traceback.format_exc() if not isinstance(e, queue.Empty) else "nothing came in time\n" + traceback.format_exc()
        print(f"not ok {n} - {name}")
        for line in why.rstrip().splitlines():
            print("# " + line)
        sys.stdout.flush()
print(f"1..{len(CHECKS)}", flush=True)
os._exit(0)  # threads of connections that a failed check left behind
