"""Two endpoints: a station is one row by its key, the records of a year read every reading there is."""

from typing import Any

from flask import Blueprint, Flask, Request, abort, request

from examples.flask_weather import readings
from policy_client import Identity, PolicyClient, protect
from policy_client.flask import Policies

DATABASE = readings.database()


def identify(request: Request) -> Identity:
    """Who calls. For the demo alone: a real service takes this from its login, never from a header anybody can set."""
    user = request.headers.get("X-User")
    return Identity(user=user, authenticated=user is not None)


app = Flask(__name__)
Policies(app, PolicyClient.from_env(), identify)
weather = Blueprint("weather", __name__, url_prefix="/weather")


@app.get("/health")
def health() -> dict[str, bool]:
    return {"ok": True}


@weather.get("/stations/<int:station_id>")
def station(station_id: int) -> dict[str, Any]:
    with readings.reading(DATABASE) as connection:
        found = readings.station(connection, station_id)
    return found or abort(404, "There is no such station.")


@weather.get("/records")
@protect("weather.records")
def records() -> dict[str, Any]:
    year = request.args.get("year", 0, type=int)
    with readings.reading(DATABASE) as connection:
        return {"year": year, "stations": readings.records(connection, year)}


app.register_blueprint(weather)
