"""How many messages a text becomes on the air (GSM 03.38, 3GPP TS 23.038 §6.2.1; TS 23.040 §9.2.3.24.1). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")  # an escape before each: two septets


class Encoding(Enum):
    """Units in one message, and in each of several: a header takes the rest."""

    GSM7 = (160, 153)
    UCS2 = (70, 67)


@dataclass(frozen=True, slots=True)
class Segments:
    encoding: Encoding
    count: int


def segments(text: str) -> Segments:
    gsm = all(character in BASIC or character in EXTENSION for character in text)
    encoding = Encoding.GSM7 if gsm else Encoding.UCS2
    sizes = [2 if character in EXTENSION else 1 for character in text] if gsm else list(map(units, text))
    single, each = encoding.value
    return Segments(encoding, 1 if sum(sizes) <= single else packed(sizes, each))


def units(character: str) -> int:
    """UTF-16 code units."""
    return 2 if ord(character) > 0xFFFF else 1


def packed(sizes: Iterable[int], room: int) -> int:
    """How many messages of so much room: a character is never split between two."""
    count, left = 1, room
    for size in sizes:
        if size > left:
            count, left = count + 1, room
        left -= size
    return count
