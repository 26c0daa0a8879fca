"""The client of PyPI's `websockets`, against `/echo`, with and without compression."""

import os
import unittest

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from server import Server

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LONG = "naïve 😀 " * 20_000


class Base:
    """What holds in every configuration."""

    args: list[str] = []
    options: dict = {}
    extensions: str | None = None

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(*cls.args)

    @classmethod
    def tearDownClass(cls) -> None:
        with cls.server:
            pass

    def connect(self):
        return connect(self.server.socket_url("/echo"), max_size=None, **self.options)

    def test_what_is_agreed_is_what_was_asked_for(self) -> None:
        with self.connect() as socket:
            self.assertEqual(socket.response.headers.get("Sec-WebSocket-Extensions"), self.extensions)

    def test_text_and_binary_come_back_as_they_were(self) -> None:
        noise = os.urandom(100_000)
        with self.connect() as socket:
            for message in ["", "short", LONG, b"", b"\xff\x00", noise, LONG.encode()]:
                socket.send(message)
                self.assertEqual(socket.recv(), message)

    def test_a_message_in_fragments_is_one_message(self) -> None:
        with self.connect() as socket:
            socket.send(["naïve ", "", "😀", LONG])
            self.assertEqual(socket.recv(), "naïve 😀" + LONG)
            socket.send(iter([b"\xff", b"\x00"]))
            self.assertEqual(socket.recv(), b"\xff\x00")

    def test_a_ping_is_answered_with_its_payload(self) -> None:
        with self.connect() as socket:
            self.assertTrue(socket.ping(b"payload").wait(30))

    def test_a_close_is_answered_with_its_code(self) -> None:
        with self.connect() as socket:
            socket.close(4321, "enough")
            self.assertEqual((socket.protocol.close_rcvd.code, socket.protocol.close_rcvd.reason), (4321, ""))

    def test_a_message_over_the_limit_closes_with_1009(self) -> None:
        with self.connect() as socket:
            with self.assertRaises(ConnectionClosed) as closed:
                socket.send("x" * (1024 * 1024 + 1))
                socket.recv()
            self.assertEqual(closed.exception.rcvd.code, 1009)


class NoCompression(Base, unittest.TestCase):
    """As the server starts by default. The client offers compression all the same."""


class Compression(Base, unittest.TestCase):
    """As the client offers it by default."""

    args = ["--compression"]
    extensions = AGREED


class CompressionWithLimits(Base, unittest.TestCase):
    """With limits of both windows, which the client's inflater depends on."""

    args = ["--compression"]
    options = {
        "extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=12)],
        "compression": None,
    }
    extensions = f"{AGREED}; server_max_window_bits=9"


class CompressionUnwanted(Base, unittest.TestCase):
    """The server would, the client does not ask."""

    args = ["--compression"]
    options = {"compression": None}


if __name__ == "__main__":
    unittest.main()
