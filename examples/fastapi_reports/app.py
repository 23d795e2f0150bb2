"""Two endpoints: reading a report is cheap, exporting one reads every sale there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request

from examples.fastapi_reports import figures
from policy_client import Identity, PolicyClient, protect
from policy_client.asgi import PolicyMiddleware

DATABASE = figures.database()


def identify(request: Request) -> Identity:
    """Who calls. For the demo alone: a real service takes this from its login, never from a header anybody can set."""
    user = request.headers.get("x-user")
    return Identity(user=user, authenticated=user is not None)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    figures.make(DATABASE)
    yield


app = FastAPI(title="Reports", lifespan=lifespan)
app.add_middleware(PolicyMiddleware, client=PolicyClient.from_env(), identify=identify)


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


@app.get("/reports/{report_id}")
def read(report_id: int) -> dict[str, Any]:
    with figures.reading(DATABASE) as connection:
        return found(figures.summary(connection, report_id))


@app.post("/reports/{report_id}/export")
@protect("reports.export")
def export(report_id: int) -> dict[str, Any]:
    with figures.reading(DATABASE) as connection:
        summary = found(figures.summary(connection, report_id))
        return {**summary, "regions": figures.comparison(connection, report_id)}


def found(report: dict[str, Any] | None) -> dict[str, Any]:
    if report is None:
        raise HTTPException(404, "There is no such report.")
    return report
