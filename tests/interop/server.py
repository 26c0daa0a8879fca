"""The server under test: a process of its own, on a free port, with a data folder of its own, and `/echo`."""

import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY = "dormouse is ready on http://"
STOP_SECONDS_MAX = 30


class Server:
    """A running server; `args` are added to those of `serve`. Leaving its `with` ends it and removes its data."""

    def __init__(self, *args: str) -> None:
        binary = os.environ.get("DORMOUSE_BIN", ROOT / "target/debug/dormouse")
        # Without the settings of whoever runs the tests.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DORMOUSE_")}
        self._data = tempfile.TemporaryDirectory(prefix="dormouse-interop-")
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--data", self._data.name, "--echo", "--log", "warn", *args]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        if not line.startswith(READY):
            self._process.kill()
            raise RuntimeError(f"the server did not start: {line!r}")
        self._address = line.removeprefix(READY).strip()

    def url(self, path: str) -> str:
        return f"http://{self._address}{path}"

    def socket_url(self, path: str) -> str:
        return f"ws://{self._address}{path}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        """Also proves that the server still runs, and stops as it should."""
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._data.cleanup()
        if code != 0:
            raise RuntimeError(f"the server ended with code {code}")
