"""`manage.py changepassword`: Django's, with the audit event that every act of ours has."""

import getpass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import changepassword
from django.core.management.base import CommandError

from policies.lifecycle import people
from policies.lifecycle.actor import command_actor
from policies.lifecycle.refusals import Invalid

MAX_TRIES = 3
PROMPTS = ("Password: ", "Password (again): ")


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str:
        name = options["username"] or getpass.getuser()
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no account “{name}”.")
        for _ in range(MAX_TRIES):
            first, second = (self._get_pass(prompt) for prompt in PROMPTS)  # type: ignore[attr-defined]
            if first != second:
                self.stdout.write("Passwords do not match. Please try again.")
                continue
            try:
                people.set_password(user, first, by=command_actor())
            except Invalid as refusal:
                self.stderr.write("\n".join(message for found in refusal.errors.values() for message in found))
                continue
            return f"Password of “{name}” changed."
        raise CommandError(f"Aborting password change of “{name}” after {MAX_TRIES} attempts")
