"""`manage.py replay ACCESS_LOG --service S …`"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from policies.management.doors import environment_named, policy_named, service_named
from policies.models import Policy, Revision, Service
from policies.publishing.plans import declared
from policies.publishing.sketches import sketch
from policy_client.errors import PolicyError
from policy_client.replay.command import add_output_arguments, replay_with_bar
from policy_client.replay.files import open_log


class Command(BaseCommand):
    help = "What limits would have done to the calls of an access log (Combined, Common or JSON lines)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("access_log", help="may be gzipped; - is standard input")
        parser.add_argument("--service", required=True)
        parser.add_argument("--environment", help="what is live there; default: the newest revision of each policy")
        parser.add_argument("--policy", help="only this policy, such as POL-0042")
        parser.add_argument("--revision", type=int, help="this revision of it, instead of what is live or newest")
        add_output_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        service = service_named(options["service"])
        environment = environment_named(options["environment"]) if options["environment"] else None
        policy, revision = _chosen(service, options["policy"], options["revision"])
        bundle = sketch(service, environment, policy=policy, revision=revision)
        if not bundle.policies:
            lacking = "is there"
            if environment:
                lacking = f"is live in {environment.slug}; leave --environment out for the newest revisions"
            raise CommandError(f"There is nothing to replay: no policy of {service.slug} {lacking}.")
        endpoints = declared(service)
        try:
            with open_log(options["access_log"]) as log:
                report = replay_with_bar(
                    bundle, log, top=options["top"], progress=options["progress"], endpoints=endpoints
                )
        except PolicyError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "table":
            self.stdout.write(report.as_table())
            return
        if report.warning:
            self.stderr.write(report.warning)
        self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False, indent=2))


def _chosen(service: Service, reference: str | None, number: int | None) -> tuple[Policy | None, Revision | None]:
    """The policy and the revision that the options name."""
    if reference is None:
        if number is not None:
            raise CommandError("--revision needs --policy: whose revision is it?")
        return None, None
    policy = policy_named(reference)
    if policy.service is not None and policy.service != service:
        raise CommandError(f"{policy.reference} belongs to {policy.service.slug}, not to {service.slug}.")
    if number is None:
        return policy, None
    revision = policy.revisions.filter(number=number).first()
    if revision is None:
        raise CommandError(f"{policy.reference} has no revision {number}.")
    return policy, revision
