"""The roles of a person as rows to type into: role, service, environment. Without a script, so a few rows are spare."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from policies.lifecycle.grants import Wanted
from policies.models import Environment, Grant, GrantRole, Service

SPARE = 3
MOST = 1000
MOST_OPTIONS = 2000
"""Services that a page names in its rows; beyond it names them once, and their slugs are typed."""
PARTS = ("role", "service", "environment")
Row = dict[str, str]


class RolesInput(forms.Widget):
    """Rows of three choices; a row without a role is none."""

    template_name = "policies/roles.html"
    use_fieldset = True

    def id_for_label(self, id_: str | None) -> str:
        return ""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        rows: list[Row] = [*(value or []), *({} for _ in range(SPARE))]
        places = {
            "role": [("", "—"), *((role, role) for role in GrantRole.values)],
            "service": [("", "all services"), *_offered(Service, rows, "service")],
            "environment": [("", "all environments"), *_offered(Environment, rows, "environment")],
        }
        context = super().get_context(name, value, attrs)
        widget = context["widget"]
        widget["rows"] = [
            [_select(f"{name}-{number}-{part}", part, number, row.get(part, ""), places[part]) for part in PARTS]
            for number, row in enumerate(rows)
        ]
        widget["last"] = len(rows)
        if len(rows) * len(places["service"]) > MOST_OPTIONS:
            widget["services"] = places["service"][1:]
            for row in widget["rows"]:
                _, service, _ = row
                service |= {"options": [], "list": f"{name}-services", "placeholder": places["service"][0][1]}
        return context

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[Row] | None:
        """The rows that have a role, in their order; None where the page had no rows at all."""
        told = str(data.get(f"{name}-rows", ""))
        if not told:
            return None
        count = min(int(told), MOST) if told.isascii() and told.isdecimal() and len(told) < 6 else 0
        rows = [{part: str(data.get(f"{name}-{number}-{part}", "")) for part in PARTS} for number in range(count)]
        return [row for row in rows if row["role"]]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False


class RolesField(forms.Field):
    """What a person may do where, as `Wanted` roles; None leaves them as they are."""

    widget = RolesInput

    def clean(self, value: Any) -> list[Wanted] | None:
        if value is None:
            return None
        rows: list[Row] = value
        services = _by_slug(Service, rows, "service")
        environments = _by_slug(Environment, rows, "environment")
        wanted = []
        for row in rows:
            if row["role"] not in GrantRole.values:
                raise forms.ValidationError(f"There is no role “{row['role']:.20}”.")
            for part, known in (("service", services), ("environment", environments)):
                if row[part] and row[part] not in known:
                    raise forms.ValidationError(f"There is no {part} “{row[part]:.63}”.")
            wanted.append(Wanted(row["role"], services.get(row["service"]), environments.get(row["environment"])))
        return wanted


def rows_of(grants: Iterable[Grant]) -> list[Row]:
    """The rows in which a person's grants stand."""
    return [
        {
            "role": grant.role,
            "service": grant.service.slug if grant.service else "",
            "environment": grant.environment.slug if grant.environment else "",
        }
        for grant in grants
    ]


def _by_slug(model: Any, rows: list[Row], part: str) -> dict[str, Any]:
    slugs = {row[part] for row in rows if row[part] and "\0" not in row[part]}
    return {found.slug: found for found in model.objects.filter(slug__in=slugs)}


def _offered(model: Any, rows: list[Row], part: str) -> list[tuple[str, str]]:
    """Those in use; what stands in a row stays, archived or not."""
    kept = {row.get(part, "") for row in rows}
    every = model.objects.order_by("name").values_list("slug", "name", "archived_at")
    return [(slug, name) for slug, name, archived in every if archived is None or slug in kept]


def _select(name: str, part: str, number: int, chosen: str, choices: list[tuple[str, str]]) -> dict[str, Any]:
    options = [{"value": value, "label": label, "selected": value == chosen} for value, label in choices]
    return {"name": name, "label": f"{part} {number + 1}", "options": options, "value": chosen}
