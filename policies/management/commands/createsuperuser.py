"""`manage.py createsuperuser`: Django's, with the audit event that every act of ours has."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from policies.lifecycle import people
from policies.lifecycle.actor import command_actor


class _Accounts:
    """The model of accounts as Django's command uses it, except that making an administrator is a verb."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._default_manager = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **values: Any) -> Any:
        return self._model(**values)

    def db_manager(self, using: str) -> "_Accounts":
        return self

    def get_by_natural_key(self, name: str) -> Any:
        return self._model.objects.get_by_natural_key(name)

    def create_superuser(self, *, password: str | None = None, **values: Any) -> Any:
        return people.create_administrator(values, password=password, by=command_actor())


class Command(createsuperuser.Command):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel: Any = _Accounts(self.UserModel)

    def _validate_username(self, username: str, verbose_field_name: str, database: str) -> str:
        refused = super()._validate_username(username, verbose_field_name, database)  # type: ignore[misc]
        return refused or " ".join(people.faults_in_a_new_name(username))
