"""The verbs of HTTP, over one ``request``."""

# ruff: noqa: A002  # `type` is the word of the interface

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from switchgear.services._api.request import Headers, Params

T = TypeVar("T")


class Verbs(ABC):
    """get, post, put, patch and delete; the base of ``ApiCircuitBreaker``."""

    @abstractmethod
    async def request(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        type: Any = None,
        params: "Params" = None,
        headers: "Headers" = None,
    ) -> Any:
        """Send a request: ``ApiCircuitBreaker.request``."""

    @overload
    async def get(self, url: str, *, type: type[T], params: "Params" = None, headers: "Headers" = None) -> T: ...
    @overload
    async def get(self, url: str, *, type: Any = None, params: "Params" = None, headers: "Headers" = None) -> Any: ...
    async def get(self, url: str, *, type: Any = None, params: "Params" = None, headers: "Headers" = None) -> Any:
        """Send a GET and return the body, decoded; the rest is as in ``request``."""
        return await self.request("GET", url, type=type, params=params, headers=headers)

    @overload
    async def post(
        self, url: str, body: object = None, *, type: type[T], params: "Params" = None, headers: "Headers" = None
    ) -> T: ...
    @overload
    async def post(
        self, url: str, body: object = None, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any: ...
    async def post(
        self, url: str, body: object = None, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any:
        """Send a POST with this body and return the answer's, decoded; the rest is as in ``request``."""
        return await self.request("POST", url, body, type=type, params=params, headers=headers)

    @overload
    async def put(
        self, url: str, body: object = None, *, type: type[T], params: "Params" = None, headers: "Headers" = None
    ) -> T: ...
    @overload
    async def put(
        self, url: str, body: object = None, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any: ...
    async def put(
        self, url: str, body: object = None, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any:
        """Send a PUT with this body and return the answer's, decoded; the rest is as in ``request``."""
        return await self.request("PUT", url, body, type=type, params=params, headers=headers)

    @overload
    async def patch(
        self, url: str, body: object = None, *, type: type[T], params: "Params" = None, headers: "Headers" = None
    ) -> T: ...
    @overload
    async def patch(
        self, url: str, body: object = None, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any: ...
    async def patch(
        self, url: str, body: object = None, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any:
        """Send a PATCH with this body and return the answer's, decoded; the rest is as in ``request``."""
        return await self.request("PATCH", url, body, type=type, params=params, headers=headers)

    @overload
    async def delete(self, url: str, *, type: type[T], params: "Params" = None, headers: "Headers" = None) -> T: ...
    @overload
    async def delete(
        self, url: str, *, type: Any = None, params: "Params" = None, headers: "Headers" = None
    ) -> Any: ...
    async def delete(self, url: str, *, type: Any = None, params: "Params" = None, headers: "Headers" = None) -> Any:
        """Send a DELETE and return the answer's body, decoded; the rest is as in ``request``."""
        return await self.request("DELETE", url, type=type, params=params, headers=headers)
