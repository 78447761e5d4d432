"""WebSocket (RFC 6455) with Kubernetes' protocol v5.channel.k8s.io: the first byte of a message is its channel, and 255 is
followed by the channel that is closed."""
import base64
import hashlib
import struct
import threading

PROTOCOL = "v5.channel.k8s.io"
CHANNELS = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3}
CLOSE = 255
BINARY, CLOSED, PING, PONG = 2, 8, 9, 10


def accept(key):
    """What a server answers to the client's key."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


class Connection:
    """The server's side of a connection that was upgraded."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.lock = threading.Lock()

    def wait_for(self, names):
        return True

    def send(self, name, data):
        self.message(BINARY, bytes([CHANNELS[name]]) + data)

    def close(self, name):
        if name == "error":
            self.message(CLOSED, struct.pack(">H", 1000))

    def message(self, kind, data):
        head = bytes([0x80 | kind])
        if len(data) < 126:
            head += bytes([len(data)])
        elif len(data) < 1 << 16:
            head += bytes([126]) + struct.pack(">H", len(data))
        else:
            head += bytes([127]) + struct.pack(">Q", len(data))
        with self.lock:
            self.writer.write(head + data)
            self.writer.flush()

    def read(self, on_input):
        """Reads until the client goes: `on_input` gets what comes for stdin, and None at its end."""
        while True:
            head = self.reader.read(2)
            if len(head) < 2:
                return
            length = head[1] & 0x7F
            if length == 126:
                length = struct.unpack(">H", self.reader.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.reader.read(8))[0]
            mask = self.reader.read(4) if head[1] & 0x80 else b"\0\0\0\0"
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.reader.read(length)))
            kind = head[0] & 0x0F
            if kind == CLOSED:
                return
            if kind == PING:
                self.message(PONG, data)
            elif data[:1] == bytes([CHANNELS["stdin"]]) and len(data) > 1:
                on_input(data[1:])
            elif data[:2] == bytes([CLOSE, CHANNELS["stdin"]]):
                on_input(None)
