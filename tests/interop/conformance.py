"""The cases of the Autobahn test suite, against `/echo` of a server, without and with compression.

Autobahn itself runs only on Python 2. kosoku runs its case files on today's Python. Every case must end as OK or as
INFORMATIONAL; NON-STRICT, which kosoku lets pass, does not count as passed here.

Compressed messages (12.* and 13.*) come in 18 sizes, a thousand messages each, which together take minutes: without
`--all` only some of the sizes are run.
"""

import asyncio
import functools
import importlib
import sys
import time

import kosoku
from kosoku import _caseindex

from server import Server

# What is not about compression.
PLAIN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
PLAIN_COUNT = 301

# Kinds of data and of offers, and the sizes of each: from 16 bytes to 128 KiB, then fragments.
GROUPS = [f"12.{n}" for n in range(1, 6)] + [f"13.{n}" for n in range(1, 8)]
SIZES = range(1, 19)
SIZES_BY_DEFAULT = (1, 4, 7, 11)

MESSAGE_BYTES_MAX = 16 * 1024 * 1024


def accept_plain_messages() -> None:
    """kosoku 0.1.0 hands a message that came uncompressed to the cases of compression as text, where they expect
    bytes, and reports the case as an error of its own. A server may leave any message uncompressed."""
    _caseindex.initialize_shims()
    module = importlib.import_module("case12_x_x")
    for case in module.Case12_X_X + module.Case13_X_X:
        on_message = case.onMessage

        @functools.wraps(on_message)
        def with_bytes(self, message, binary, on_message=on_message):
            on_message(self, message.encode("latin-1") if isinstance(message, str) else message, binary)

        case.onMessage = with_bytes


def run(what: str, args: list[str], cases: list[str], count: int) -> bool:
    """Starts a server and runs cases. Prints what is not as it must be; gives whether all is."""
    begin = time.monotonic()
    with Server("--message-bytes-max", str(MESSAGE_BYTES_MAX), *args) as server:
        try:
            results = asyncio.run(kosoku.run_fuzzingclient(server.socket_url("/echo"), cases))
        except kosoku.FailureError as failure:
            results = failure.results

    passed = 0
    for result in results:
        verdict = [result.behavior.value, result.behavior_close.value]
        if set(verdict) <= {"OK", "INFORMATIONAL"}:
            passed += 1
        else:
            print(f"{result.case_id}: {' / '.join(verdict)}: {result.result} {result.result_close}")
            print(f"  expected {result.expected}\n  received {str(result.received)[:500]}")
    if len(results) != count:
        print(f"{what}: {len(results)} cases were run instead of {count}")
    print(f"{what}, {time.monotonic() - begin:.0f} s: {passed} passed, {len(results) - passed} failed")
    return passed == len(results) == count


def main() -> None:
    sizes = SIZES if "--all" in sys.argv[1:] else SIZES_BY_DEFAULT
    compressed = [f"{group}.{size}" for group in GROUPS for size in sizes]
    accept_plain_messages()
    is_good = run("RFC 6455", [], PLAIN, PLAIN_COUNT)
    is_good &= run("RFC 6455 and 7692", ["--compression"], PLAIN + compressed, PLAIN_COUNT + len(compressed))
    sys.exit(0 if is_good else 1)


main()
