"""Stands between ranks and a coordinator (plaintext HTTP/2) and withholds directives from one rank: what then happens
has a directive that reached the others only. Everything else passes, heartbeats too, so nobody seems lost."""
import select
import socket
import threading

PREFACE, HEAD = 24, 9  # bytes that a client says before its first frame; before each frame's own
DATA = 0  # the kind of frame


def varint(data, at):
    value, shift = 0, 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """{number: last value} of a protobuf message: integers, and bytes of what has a length."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            found[tag >> 3], at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            found[tag >> 3], at = data[at:at + size], at + size
        else:
            at += 8 if tag & 7 == 1 else 4
    return found


def messages(frame):
    """The gRPC messages in a frame of HTTP/2, each after a byte and its size; none of what is cut over frames."""
    found, at = [], HEAD
    while frame[3] == DATA and at + 5 <= len(frame):
        size = int.from_bytes(frame[at + 1:at + 5], "big")
        message = frame[at + 5:at + 5 + size]
        if len(message) == size:
            found.append(fields(message))
        at += 5 + size
    return found


class Relay:
    """Directives for steps from `step` on do not come to `rank`. `gap` is set once another rank has one and waits for
    `rank` to compare it."""

    def __init__(self, address, rank, step):
        host, port = address.rsplit(":", 1)
        self.target, self.rank, self.step = (host, int(port)), rank, step
        self.withholds = True
        self.withheld, self.gap = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=self.connection, args=(client,), daemon=True).start()

    def connection(self, client):
        try:
            server = socket.create_connection(self.target)
        except OSError:  # the coordinator is gone: so is this
            return client.close()
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffers = {client: b"", server: b""}
        of_rank = None
        try:
            server.sendall(receive(client, PREFACE))
            while True:
                for source in select.select(list(buffers), [], [])[0]:
                    arrived = source.recv(1 << 16)
                    if not arrived:
                        return
                    buffers[source] += arrived
                    frames, buffers[source] = whole_frames(buffers[source])
                    for frame in frames:
                        if source is client:
                            for message in messages(frame):
                                if isinstance(message.get(1), bytes):
                                    of_rank = fields(message[1]).get(4, 0)  # Identity.rank
                            if of_rank != self.rank and self.withheld.is_set() and b'"directive of step ' in frame:
                                self.gap.set()
                            server.sendall(frame)
                        elif not any(self.hides(of_rank, message) for message in messages(frame)):
                            client.sendall(frame)
        except OSError:  # one of them has closed
            pass
        finally:
            client.close()
            server.close()

    def hides(self, of_rank, message):
        """A DirectiveEvent: the only answer with a message in field 4, its Directive; 3 there is its last step."""
        directive = message.get(4)
        if not self.withholds or of_rank != self.rank or not isinstance(directive, bytes):
            return False
        if fields(directive).get(3, 0) < self.step:
            return False
        self.withheld.set()
        return True

    def close(self):
        self.listener.close()


def receive(source, size):
    data = b""
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def whole_frames(data):
    """HTTP/2 frames, each with its head, and what is left."""
    frames = []
    while len(data) >= HEAD and len(data) >= HEAD + int.from_bytes(data[:3], "big"):
        size = HEAD + int.from_bytes(data[:3], "big")
        frames.append(data[:size])
        data = data[size:]
    return frames, data
