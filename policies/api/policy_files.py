"""Policies as files, over REST: YAML out, YAML in."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from policies.api.parsing import refuse_without_length
from policies.api.policy_bodies import DifferenceLine
from policies.api.problems import Problem, invalid
from policies.api.rooms import Room
from policies.files.reading import MAX_SIZE
from policies.lifecycle import exporting, importing
from policies.lifecycle.importing import Asked, Change, Imported
from policies.models import Environment, Mode, Policy

YAML = "application/yaml"


class YamlParser(BaseParser):
    """The bytes, which the verb reads."""

    media_type = YAML

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> bytes:
        body: bytes = stream.read(MAX_SIZE + 1)
        if len(body) > MAX_SIZE:
            raise Problem(413, f"The body is larger than {MAX_SIZE:,} bytes; split the file by service.")
        return body


class TextYamlParser(YamlParser):
    """The name that it had before RFC 9512."""

    media_type = "text/yaml"


class ImportedPolicy(serializers.Serializer[Any]):
    policy = serializers.CharField(allow_null=True, help_text="Its reference; null where a dry run would create it.")
    service = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=[outcome.value for outcome in importing.Outcome])
    revision = serializers.IntegerField(help_text="The newest one, or the one that it would be.")
    lines = serializers.ListField(child=DifferenceLine(), help_text="What changes; empty if nothing does.")


class LeftOutPolicy(serializers.Serializer[Any]):
    policy = serializers.CharField()
    service = serializers.CharField()
    name = serializers.CharField()


class AskedRelease(serializers.Serializer[Any]):
    policy = serializers.CharField(allow_null=True)
    name = serializers.CharField(help_text="With its service: reports/report-export.")
    revision = serializers.IntegerField()
    answer = serializers.CharField(help_text="already, would_ask, held, refused, or the state of the new release.")
    release = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_blank=True, help_text="Why it was refused, for programs.")
    detail = serializers.CharField()


class ImportRow(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    policies = ImportedPolicy(many=True)
    left_out = LeftOutPolicy(many=True, help_text="Policies of these services that the file does not name: left alone.")
    releases = AskedRelease(many=True, help_text="Empty without `release`.")


class PolicyFiles(Room):
    """Policies as one YAML file, to be kept in a repository and imported again. See docs/gitops.md."""

    kind = "policy"
    tag = "policies"
    queryset = Policy.objects.all()
    answers = {"import_file": ImportRow}
    texts = {"import_file": YAML}
    plain = {"export_file": YAML}
    titles = {"export_file": "Export policies as YAML", "import_file": "Import policies from YAML"}
    parameters = {
        "export_file": [
            OpenApiParameter("service", str, description="The slug of a service: only its policies."),
            OpenApiParameter("policy", str, many=True, description="Only these references; may be repeated."),
            OpenApiParameter("environment", str, description="What is live there instead of the newest revisions."),
            OpenApiParameter("portable", bool, description="true: without references and revisions."),
        ],
        "import_file": [
            OpenApiParameter("dry_run", bool, description="true: say what it would do, and write nothing."),
            OpenApiParameter("reason", str, description="Why; kept with every revision. Required but for a dry run."),
            OpenApiParameter("release", str, description="Then ask for releases into this environment."),
            OpenApiParameter("mode", str, enum=Mode.values, description="Of these; default: that of what is live."),
        ],
    }

    def get_parsers(self) -> list[BaseParser]:
        return [YamlParser(), TextYamlParser()] if self.action_map.get("post") else super().get_parsers()

    def export_file(self, request: Request) -> StreamingHttpResponse:
        """The newest revisions in an order that does not change by itself: the same policies are the same bytes."""
        query = request.query_params
        pieces = exporting.export(
            service=query.get("service"),
            references=query.getlist("policy"),
            environment=_environment(request, "environment"),
            portable=_flag(request, "portable"),
            by=self.by,
        )
        asynchronous = isinstance(request._request, ASGIRequest)
        return StreamingHttpResponse(
            _sent_on(pieces) if asynchronous else pieces,
            content_type=YAML,
            headers={"Content-Disposition": 'attachment; filename="policies.yaml"'},
        )

    def import_file(self, request: Request) -> Response:
        """Take over a file: all of it or, where anything in it is wrong, nothing. Doing it again changes nothing."""
        refuse_without_length(request)
        _refuse_unknown(request)
        dry, environment, mode = _flag(request, "dry_run"), _environment(request, "release"), _mode(request)
        reason = request.query_params.get("reason", "")
        body: object = request.data
        if not isinstance(body, bytes) or not body:
            raise Problem(400, "The body is empty: send the file, as application/yaml.", code="yaml")
        if dry:
            done = importing.preview(body, by=self.by)
        else:
            done = importing.import_policies(body, by=self.by, reason=reason)
        asked: list[Asked] = []
        if environment is not None and dry:
            asked = importing.foresee_releases(done, environment, mode=mode)
        elif environment is not None:
            asked = importing.ask_for_releases(done, environment, mode=mode, by=self.by, reason=reason)
        return Response(_told(done, asked))


def _told(done: Imported, asked: list[Asked]) -> dict[str, Any]:
    return {
        "dry_run": done.dry,
        "policies": [_change(*outcome) for outcome in done.outcomes()],
        "left_out": [{"policy": left.policy, "service": left.service, "name": left.name} for left in done.left_out],
        "releases": [
            {
                "policy": item.policy.reference if item.policy else None,
                "name": item.title,
                "revision": item.revision,
                "answer": item.answer,
                "release": item.release.pk if item.release else None,
                "code": item.code,
                "detail": item.detail,
            }
            for item in asked
        ],
    }


def _change(change: Change, policy: Policy | None, revision: int) -> dict[str, Any]:
    return {
        "policy": policy.reference if policy else None,
        "service": change.entry.service,
        "name": change.entry.name,
        "outcome": change.outcome,
        "revision": revision,
        "lines": [{"sign": line.sign, "text": line.text} for line in change.lines],
    }


def _refuse_unknown(request: Request) -> None:
    """A slip in `dry_run` must not bring the file in: what says nothing here, or two things, is refused."""
    known = {parameter.name for parameter in PolicyFiles.parameters["import_file"]}
    errors = {name: ["Unknown parameter."] for name in request.query_params if name not in known}
    errors |= {
        name: ["Must be given once."] for name, values in request.query_params.lists() if name in known and values[1:]
    }
    if errors:
        raise invalid(errors)


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false")
    if value not in ("true", "false"):
        raise invalid({name: ["Must be true or false."]})
    return value == "true"


def _environment(request: Request, name: str) -> Environment | None:
    slug = request.query_params.get(name)
    if slug is None:
        return None
    found = Environment.objects.filter(slug=slug, archived_at=None).first() if "\0" not in slug else None
    if found is None:
        raise invalid({name: [f"There is no environment “{slug:.63}”."]})
    return found


def _mode(request: Request) -> str | None:
    mode = request.query_params.get("mode")
    if mode is None:
        return None
    if mode not in Mode.values:
        raise invalid({"mode": [f"Must be one of: {', '.join(Mode.values)}."]})
    if "release" not in request.query_params:
        raise invalid({"mode": ["Says how `release` releases; name an environment there."]})
    return mode


async def _sent_on(pieces: Iterator[str]) -> AsyncIterator[str]:
    """The twin: a server of ASGI would collect a synchronous iterator whole before it sends a byte."""
    while piece := await sync_to_async(_next)(pieces):
        yield piece


def _next(pieces: Iterator[str]) -> str:
    """The next piece, empty at the end: a StopIteration cannot leave a thread."""
    return next(pieces, "")
