"""The form of a key: its own checksum, enough chance in it, and nothing else that passes."""

import math
import re

import pytest

from outbox.api_keys import DIGITS, SECRET_CHARACTERS, checksum, digest, id_of, make, proves


def test_a_key_says_its_id_and_proves_itself() -> None:
    key = make()
    assert re.fullmatch(r"obx_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", key.text)
    assert id_of(key.text) == key.id
    assert proves(key.text, key.hash)
    assert not proves(make().text, key.hash)
    assert key.hash == digest(key.text)
    assert len({make().text for _ in range(100)}) == 100


def test_there_is_nothing_to_guess() -> None:
    assert math.log2(len(DIGITS) ** SECRET_CHARACTERS) > 256
    seen = {character for _ in range(200) for character in make().text.rpartition("_")[2]}
    assert seen == set(DIGITS)


def test_the_checksum_is_crc_32_in_base_62() -> None:
    assert checksum("123456789") == "3jZRME"  # 0xCBF43926, the check value of the CRC catalogue
    assert checksum("") == "000000"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
        lambda text: text[:20] + ("0" if text[20] != "0" else "1") + text[21:],
        lambda text: text[:5] + ("0" if text[5] != "0" else "1") + text[6:],
        lambda text: text.replace("obx_", "OBX_"),
        lambda text: text + "\n",
        lambda text: text[:-1],
        lambda text: text.replace("_", "-"),
        lambda _: "",
    ],
)
def test_what_was_mistyped_is_no_key(spoil: object) -> None:
    assert callable(spoil)
    assert id_of(spoil(make().text)) is None
