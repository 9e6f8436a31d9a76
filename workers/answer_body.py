"""The beginning of an answer's body: so many bytes, for so long.

The status has been said, and it counts; so what is lost after it is only cut off. No compression was asked for, and
none is undone."""

import asyncio
from collections.abc import AsyncIterable

import httpcore
import httpx

BODY_BYTES = 64 * 1024
BODY_SECONDS = 2.0
LOST = (
    TimeoutError,
    OSError,
    httpx.HTTPError,
    httpx.StreamError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
)


async def beginning(chunks: AsyncIterable[bytes], most: int = BODY_BYTES) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in chunks:
                body += chunk
                if len(body) >= most:
                    break
    except LOST:
        pass
    return bytes(body[:most])
