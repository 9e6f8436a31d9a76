"""What the streams have held, from Redis's own log of commands (appendonly): it survives the server, and what was
answered is in it. Pure."""

from collections import defaultdict
from collections.abc import Iterator

from bench.chaos.history import Entry, History, Id

PREFIX = b"notifications."


def histories(log: bytes) -> dict[str, History]:
    """By stream. Of a log that was never rewritten, and was cut off at most in its last command."""
    found: defaultdict[str, History] = defaultdict(History)
    for words in commands(log):
        match words:
            case [b"XADD", stream, *rest] if stream.startswith(PREFIX) and b"envelope" in rest:
                found[stream.decode()].add(entry(rest))
            case [b"XSETID", stream, last, *_] if stream.decode() in found:
                found[stream.decode()].resume(Id.parse(last.decode()), ())
            case [b"DEL" | b"UNLINK", *streams]:
                for stream in streams:
                    if stream.decode() in found:
                        found[stream.decode()].clear()
            case [b"FLUSHALL" | b"FLUSHDB", *_]:
                for history in found.values():
                    history.clear()
    return dict(found)


def entry(words: list[bytes]) -> Entry:
    """Of what follows the stream's name in an XADD."""
    at = words.index(b"envelope")
    fields = dict(zip(words[at::2], words[at + 1 :: 2], strict=True))
    return Entry.parse(*(text.decode() for text in (words[at - 1], fields[b"envelope"], fields[b"attempt"])))


def commands(log: bytes) -> Iterator[list[bytes]]:
    """The commands of a log: arrays of bulk strings (RESP)."""
    at = 0
    while at < len(log):
        end = log.find(b"\r\n", at)
        if end < 0 or log[at : at + 1] == b"#":  # cut off; or a note of the time
            at = end + 2 if end >= 0 else len(log)
            continue
        number, at, words = int(log[at + 1 : end]), end + 2, []
        for _ in range(number):
            if (end := log.find(b"\r\n", at)) < 0:
                return
            size, begin = int(log[at + 1 : end]), end + 2
            if begin + size > len(log):
                return
            words.append(log[begin : begin + size])
            at = begin + size + 2
        yield [words[0].upper(), *words[1:]]
