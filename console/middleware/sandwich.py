"""The shape of our middleware: something before, something after, nothing that waits; so sync and async are one."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase


class Sandwich:
    """Subclasses say what happens before and after; neither may wait for anything."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def before(self, request: HttpRequest) -> None:
        """Called on the way in."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Called on the way out; an exception inside has become a response by now."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.__acall__(request)
        self.before(request)
        response: HttpResponseBase = self.get_response(request)
        self.after(request, response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.before(request)
        response: HttpResponseBase = await self.get_response(request)
        self.after(request, response)
        return response
