"""Static files, served by the process itself."""

from django.http import Http404, HttpRequest, HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware
from servestatic.responders import MissingFileError


class StaticFiles(ServeStaticMiddleware):
    """servestatic, but a file that is missing is 404 in debug as well; there it would be an error of the server."""

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response: HttpResponseBase = await super().__call__(request)
        except MissingFileError as missing:
            raise Http404(str(missing)) from missing
        return response
