"""SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, as spdystream speaks it), as far as `kubectl exec` needs it: the client opens
a stream for each of error, stdin, stdout and stderr, the server answers each, and data goes both ways."""
import struct
import threading
import zlib

# What header blocks are packed with begins with these words, each with its length before it.
WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match
if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range
referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get
status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin
""".split()
TAIL = (
    '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Au'
    'thoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidd'
    'en404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr Ma'
    'y Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,imag'
    'e/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicpri'
    'vatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.'
)


SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
FIN = 1


def with_length(word):
    return struct.pack(">I", len(word)) + word


DICTIONARY = b"".join(with_length(word.replace("_", " ").encode()) for word in WORDS) + TAIL.encode()
assert len(DICTIONARY) == 1423


class Connection:
    """The server's side of a connection that was upgraded."""

    protocols = {"SPDY/3.1"}

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.lock = threading.Lock()
        self.unpacker = zlib.decompressobj(zdict=DICTIONARY)
        self.packer = zlib.compressobj(zdict=DICTIONARY)
        self.names = {}
        self.opened = threading.Condition()

    def wait_for(self, names):
        """Waits until the client has opened streams of these names."""
        with self.opened:
            return self.opened.wait_for(lambda: names <= set(self.names.values()), 10)

    def send(self, name, data):
        self.frame_of_data(name, data, 0)

    def close(self, name):
        self.frame_of_data(name, b"", FIN)

    def frame_of_data(self, name, data, flags):
        for number, other in self.names.items():
            if other == name:
                self.write(struct.pack(">IB", number, flags) + struct.pack(">I", len(data))[1:] + data)

    def control(self, kind, flags, data):
        self.write(struct.pack(">HHB", 0x8003, kind, flags) + struct.pack(">I", len(data))[1:] + data)

    def write(self, data):
        with self.lock:
            self.writer.write(data)
            self.writer.flush()

    def read(self, on_input):
        """Reads until the client goes: `on_input` gets what comes for stdin, and None at its end."""
        while True:
            head = self.reader.read(8)
            if len(head) < 8:
                return
            length = struct.unpack(">I", b"\0" + head[5:8])[0]
            data = self.reader.read(length)
            if head[0] & 0x80:
                self.take_control(struct.unpack(">H", head[2:4])[0], data)
            else:
                number = struct.unpack(">I", head[:4])[0]
                if self.names.get(number) == "stdin":
                    if data:
                        on_input(data)
                    if head[4] & FIN:
                        on_input(None)

    def take_control(self, kind, data):
        if kind == SYN_STREAM:
            number = struct.unpack(">I", data[:4])[0] & 0x7FFFFFFF
            headers = self.unpack(data[10:])
            with self.lock:
                block = self.packer.compress(struct.pack(">I", 0)) + self.packer.flush(zlib.Z_SYNC_FLUSH)
            self.control(SYN_REPLY, 0, struct.pack(">I", number) + block)
            with self.opened:
                self.names[number] = headers.get("streamtype", "")
                self.opened.notify_all()
        elif kind == PING:
            self.control(PING, 0, data)

    def unpack(self, block):
        data = self.unpacker.decompress(block)
        count, at, words = struct.unpack(">I", data[:4])[0], 4, []
        for _ in range(2 * count):
            length = struct.unpack(">I", data[at : at + 4])[0]
            words.append(data[at + 4 : at + 4 + length].decode())
            at += 4 + length
        return dict(zip(words[::2], words[1::2]))
