"""The real SDKs of OpenAI and Anthropic, over the transport, against a local server."""

import time
from typing import Any, NamedTuple

import anthropic
import httpx
import httpx2
import openai
import pytest

from helpers import counted, run
from integrations.faulty_server import TLS, FaultyServer
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.integrations.httpx import BreakerTransport

HOST = "127.0.0.1"
CONFIG = CircuitBreakerConfig(failure_threshold=1, reset_timeout=60.0, timeout=20.0)


def transport(inner: Any, on_open: Any = "respond") -> BreakerTransport:
    return BreakerTransport(inner, CircuitBreakerRegistry(), on_open=on_open, config=CONFIG)


def chat(client: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


def message(client: Any) -> Any:
    return client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])


class Sdk(NamedTuple):
    """An SDK: its clients, where it expects its API, how it is asked, and what it raises for a 503."""

    sync: Any
    asynchronous: Any
    base: str
    path: str
    ask: Any
    error: type[Exception]


OPENAI = Sdk(
    openai.OpenAI, openai.AsyncOpenAI, "/v1", "/v1/chat/completions", chat, openai.InternalServerError
)  # fmt: skip
ANTHROPIC = Sdk(
    anthropic.Anthropic, anthropic.AsyncAnthropic, "", "/v1/messages", message, anthropic.InternalServerError
)  # fmt: skip

# Anthropic's refuses clients of the frozen httpx itself, since its version 1.
sdks = pytest.mark.parametrize(
    ("sdk", "library"),
    [
        pytest.param(OPENAI, httpx2, id="openai, httpx2"),
        pytest.param(OPENAI, httpx, id="openai, httpx"),
        pytest.param(ANTHROPIC, httpx2, id="anthropic, httpx2"),
    ],
)


@sdks
def test_an_sdk_stops_after_one_try(sdk: Sdk, library: Any, server: FaultyServer) -> None:
    """Open: the SDK, which would retry a 503 five times, asks once, sends nothing and raises its own error at once."""
    guarded = transport(library.HTTPTransport(verify=TLS))
    with library.Client(transport=guarded) as http:
        llm = sdk.sync(api_key="secret-key", base_url=server.url + sdk.base, http_client=http, max_retries=5)
        answer = sdk.ask(llm)
        assert "hello" in str(answer)
        guarded.family[HOST].force_open(for_=60.0)
        begun = time.monotonic()
        with pytest.raises(sdk.error) as raised:
            sdk.ask(llm)
        assert time.monotonic() - begun < 5.0
        response: Any = raised.value.response  # type: ignore[attr-defined]
        assert (503, "60", "false") == (
            response.status_code,
            response.headers["retry-after"],
            response.headers["x-should-retry"],
        )
        assert f"'http:{HOST}' is OPEN" in str(raised.value)
        assert "secret-key" not in str(raised.value)
    assert 1 == server.hits[sdk.path]
    assert 1 == guarded.family[HOST].get_metrics().rejected_calls


@sdks
def test_an_async_sdk_stops_after_one_try(sdk: Sdk, library: Any, server: FaultyServer) -> None:
    """The same with the async clients; and a server that fails is left alone after the first failure."""

    async def main() -> None:
        guarded = transport(library.AsyncHTTPTransport(verify=TLS))
        async with library.AsyncClient(transport=guarded) as http:
            llm = sdk.asynchronous(
                api_key="secret-key", base_url=server.url + sdk.base, http_client=http, max_retries=5
            )
            assert "hello" in str(await sdk.ask(llm))
            server.down = True
            with pytest.raises(sdk.error, match="is OPEN"):
                await sdk.ask(llm)
        # One good answer and one 500, which opened; the first retry of the SDK was rejected, and it made no second.
        assert 2 == server.hits[sdk.path]
        expected = {"total_calls": 3, "successful_calls": 1, "failed_calls": 1, "rejected_calls": 1, "times_opened": 1}
        assert expected == counted(guarded.family[HOST])

    run(main())


def test_a_streamed_answer_of_an_sdk_settles_at_its_end(server: FaultyServer) -> None:
    """A stream of the SDK is one call of the breaker, from the request to the end of the body."""
    guarded = transport(httpx2.HTTPTransport(verify=TLS))
    with httpx2.Client(transport=guarded) as http:
        llm = openai.OpenAI(api_key="k", base_url=server.url + "/v1", http_client=http, max_retries=0)
        with llm.chat.completions.with_streaming_response.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        ) as response:
            assert {} == counted(guarded.family[HOST])
            assert "hello" in "".join(response.iter_text())
        assert {"total_calls": 1, "successful_calls": 1} == counted(guarded.family[HOST])
