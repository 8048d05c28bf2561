"""Files spoiled at random: bytes, text, JSON, names."""

import json
import random
import struct
from typing import Any

# Where counts, sizes and offsets break.
EDGES = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)

NUMBERS = (
    *("0", "-0", "-1", "1", "255", "256", "65536", "2147483648", "9223372036854775808", "1" + "0" * 400, "1e400"),
    *("-1e400", "1e-400", "nan", "inf", "-inf", "NaN", "Infinity", "0x10", "1_000", "٣", "½", "1.5", "1,5", "+7", "07"),
)

# Escapes that a terminal obeys, newlines of all kinds, letters that look like others or turn the text round.
ODD_TEXT = (
    *("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http://example.invalid\x1b\\link", "\x9b2J", "\x07", "\x00"),
    *("\r", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\u202e", "\u200b", "\ufeff", "\ufffd"),
    *("e\u0301", "é", "\u212b", "日本語", "😀", "\ud800", "%s%n", "{0}", "{x!r}", "$(id)", "`id`", "'", '"', "\\", "/"),
    *("..", "../..", ".", "-", "--", "-o", "#", ",", ";", "\t", " ", "", "CON", "NUL", "null", "None", "true", "[]"),
    *("a" * 300, "é" * 200, "x" * 70_000),
)


def choose(rng: random.Random, *weighted: tuple[int, Any]) -> Any:
    """Return one of the values, each as often as its weight."""
    weights, values = zip(*weighted, strict=True)
    return rng.choices(values, weights)[0]


def spoiled_bytes(rng: random.Random, data: bytes, most: int = 6) -> bytes:
    """Return the data with 1 to `most` changes: bits, bytes, numbers at edges, parts away, twice or elsewhere."""
    out = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
        elif kind == 2:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(EDGES) & (1 << 8 * size) - 1
            out[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))
        elif kind == 3:
            del out[at : at + rng.choice((1, 2, 4, rng.randint(1, 64)))]
        elif kind == 4:
            part = out[at : at + rng.randint(1, 64)]
            out[at:at] = part * rng.choice((1, 2, 50))
        elif kind == 5:
            part = out[at : at + rng.randint(1, 64)]
            other = rng.randrange(len(out) + 1)
            out[other : other + len(part)] = part
        elif kind == 6:
            out[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 7 and rng.random() < 0.3:
            del out[at:]
        if len(out) > 1 << 20:
            del out[1 << 20 :]
    return bytes(out)


def spoiled_text(rng: random.Random, text: str) -> bytes:
    """Return a text file with a few words, numbers or lines of it changed, as bytes in some encoding."""
    for _ in range(rng.randint(1, 4)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        kind = rng.randrange(9)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))] if lines else "")
        elif kind == 2:
            rng.shuffle(lines)
        elif kind in (3, 4, 5):
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = rng.choice(NUMBERS if kind == 3 else ODD_TEXT)
            lines[at] = " ".join(words)
        elif kind == 6:
            middle = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:middle] + rng.choice(ODD_TEXT) + lines[at][middle:]
        elif kind == 7 and rng.random() < 0.2:
            lines[at:at] = [rng.choice(ODD_TEXT[:40]) + str(i) for i in range(rng.choice((300, 30_000)))]
        elif kind == 8:
            lines[at] = rng.choice(("[" * 30_000, "a." * 30_000 + "a = 1", "{" * 500, "(" * 5000, lines[at] * 40))
        text = "\n".join(lines)
    return encoded(rng, text)


def encoded(rng: random.Random, text: str) -> bytes:
    """Return text as bytes, mostly UTF-8."""
    kind = choose(rng, (12, "utf-8"), (1, "utf-8-sig"), (1, "utf-16"), (1, "latin-1"), (1, "crlf"), (1, "broken"))
    if kind == "crlf":
        text = text.replace("\n", "\r\n")
    data = text.encode(
        "utf-8" if kind in ("crlf", "broken") else kind, "surrogatepass" if kind == "utf-8" else "replace"
    )
    return spoiled_bytes(rng, data) if kind == "broken" else data


def odd_value(rng: random.Random) -> Any:
    """Return a value of JSON that is in few people's minds."""
    return rng.choice(
        (
            *(
                None,
                True,
                False,
                0,
                -1,
                1,
                255,
                256,
                2**31,
                2**63,
                10**400,
                -(10**6),
                1e308,
                float("nan"),
                float("inf"),
            ),
            *(0.5, "", "0", "\x1b[31m", "\ud800", "a" * 10_000, [], {}, [[]], [None], [0] * 1000, {"": 0}, [1, 2, 3]),
            *([[0, 0, 0]] * 300, ["x"] * 300, ["x", "x"], {"a": {"b": {"c": 1}}}, [[1e9, -1, 0.5]], ["\n"]),
        )
    )


def spoiled_value(rng: random.Random, value: Any) -> Any:
    """Return a value of JSON with one thing in it changed, left out, added or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        copy, key = dict(value), rng.choice(list(value))
        kind = rng.randrange(8)
        if kind == 0:
            del copy[key]
        elif kind == 1:
            copy[rng.choice(ODD_TEXT[:40])] = odd_value(rng)
        else:
            copy[key] = spoiled_value(rng, value[key])
        return copy
    if isinstance(value, list) and value and rng.random() < 0.8:
        copy, at = list(value), rng.randrange(len(value))
        kind = rng.randrange(6)
        if kind == 0:
            del copy[at]
        elif kind == 1:
            copy.insert(at, rng.choice((copy[at], odd_value(rng))))
        elif kind == 2:
            copy = copy * rng.choice((2, 100))
        else:
            copy[at] = spoiled_value(rng, copy[at])
        return copy
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice(
            (-value, value + 1, value * 10**6, 0, value * 1.0 if abs(value) < 1e300 else 0.5, str(value)[:50])
        )
    return odd_value(rng)


def spoiled_json(rng: random.Random, value: Any) -> bytes:
    """Return a JSON file of a value that is changed in one to three places, or is no good JSON."""
    for _ in range(rng.randint(1, 3)):
        value = spoiled_value(rng, value)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    kind = choose(rng, (10, "json"), (2, "text"), (1, "deep"), (1, "bytes"))
    if kind == "deep":
        depth = rng.choice((100, 900, 5000, 200_000))
        return (rng.choice(("[", '{"a":')) * depth + text).encode("utf-8", "surrogatepass")
    if kind == "text":
        return spoiled_text(rng, text)
    if kind == "bytes":
        return spoiled_bytes(rng, text.encode("utf-8", "surrogatepass"))
    return encoded(rng, text)


def spoiled_safetensors(rng: random.Random, header: dict[str, Any], body: bytes) -> bytes:
    """Return a safetensors file whose header, its length or the tensors' bytes are changed."""
    kind = rng.randrange(4)
    if kind == 0:
        body = spoiled_bytes(rng, body)
    text = spoiled_json(rng, header) if kind in (1, 2) else json.dumps(header).encode()
    length = rng.choice((*EDGES, len(text) - 1, len(text) + 1)) if kind == 3 else len(text)
    return struct.pack("<Q", length & 2**64 - 1) + text + body
