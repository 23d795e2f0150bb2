"""`manage.py migrate`: Django's, which a database without our triggers does not stop: it is what puts them up."""

from typing import Any

from django.core.management.commands import migrate


class Command(migrate.Command):
    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        """Django asks the checks of the database, too. They fail on one that is not up to date yet, and name this."""
        asked = super().get_check_kwargs(options)
        return {name: value for name, value in asked.items() if name != "databases"}
