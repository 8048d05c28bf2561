"""Refusals that reach a client who is still sending."""

import asyncio

from starlette.types import Message, Receive, Send

SECONDS = 5.0  # that what comes after a refusal is thrown away


def lingering(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return a request's two ends such that an error ends its connection if its body was not read to the end.

    Closed at once, the connection would be reset and the client would never see why; kept open, an upload that was
    refused could go on for ever. So what still comes is thrown away for a while, then the connection is closed.
    """
    done = False  # the body came to its end
    wrong = False  # the answer comes before that

    async def receiving() -> Message:
        nonlocal done
        message = await receive()
        done = done or not message.get("more_body", False)
        return message

    async def sending(message: Message) -> None:
        nonlocal wrong
        if message["type"] == "http.response.start":
            wrong = message["status"] >= 400 and not done
            if wrong or message["status"] == 500:  # after which the server closes it without a word
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif wrong and not message.get("more_body", False):
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(SECONDS):
                    while not done:
                        await receiving()
            except TimeoutError:
                pass
            message = {"type": "http.response.body"}
        await send(message)

    return receiving, sending
