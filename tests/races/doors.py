"""The doors through which a policy is edited, each as one way to save a note on top of a revision."""

import re
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from policies.lifecycle import keys
from policies.models import Policy
from tests.admin.browsing import fill, form
from tests.api.client import Api
from tests.files.hands import entries, file
from tests.policies.factories import acting, draft

Save = Callable[[int, str], bool]
"""Save this note on top of the revision with this number; whether it was saved. Anything but a conflict fails."""


def api_of(user: User) -> Api:
    return Api(keys.issue_api_token(user, by=acting(user))[1])


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def admin(user: User, policy: Policy) -> Save:
    """The editor's page as somebody opened it at this revision."""
    client, url = client_of(user), f"/admin/policies/policy/{policy.pk}/change/"
    page = client.get(url)

    def save(base: int, note: str) -> bool:
        fields = fill(page, "base", base=str(base), change_rollback_note=note, change_reason=note)
        answer = client.post(url, {**fields, "act": "save"})
        if answer.status_code == 302:
            return True
        text, kept = answer.content.decode(), form(answer, "base")["fields"]
        assert answer.status_code == 412
        assert f"saved revision {base + 1} while you were editing" in text
        assert (kept["base"], kept["change-rollback_note"]) == ([str(base + 1)], [note])
        assert kept["change-reason"] == [note]
        meanwhile, mine = (re.findall(r"<(ins|del)>. (.+?)</", found) for found in text.split("</pre>")[:2])
        theirs = dict(meanwhile)["ins"]
        assert theirs.startswith("rollback note: ") and mine == [("del", theirs), ("ins", f"rollback note: {note}")]
        return False

    return save


def patch(user: User, policy: Policy) -> Save:
    api = api_of(user)

    def save(base: int, note: str) -> bool:
        sent = {"reason": note, "rollback_note": note}
        return _saved(api.patch(f"/policies/{policy.reference}/", sent, If_Match=f'"{base}"'), note)

    return save


def put(user: User, policy: Policy) -> Save:
    api, content = api_of(user), _content(policy)

    def save(base: int, note: str) -> bool:
        sent = {**content, "reason": note, "rollback_note": note}
        return _saved(api.put(f"/policies/{policy.reference}/", sent, If_Match=f'"{base}"'), note)

    return save


def yaml(user: User, policy: Policy) -> Save:
    """A file that names the revision it was exported at."""
    api = api_of(user)
    [told] = entries(api.get(f"/policies/export.yaml?policy={policy.reference}").getvalue().decode())

    def save(base: int, note: str) -> bool:
        body = file({**told, "revision": base, "rollback_note": note})
        path = f"/policies/import/?reason={note.replace(' ', '+')}"
        answer = api.request("POST", path, raw=body, Content_Type="application/yaml")
        if answer.status_code == 200:
            return [one["outcome"] for one in answer.json()["policies"]] == ["changed"]
        return _saved(answer, note)

    return save


DOORS: dict[str, Callable[[User, Policy], Save]] = {"admin": admin, "patch": patch, "put": put, "yaml": yaml}


def _saved(answer: Any, note: str) -> bool:
    if answer.status_code == 200:
        assert answer.json()["rollback_note"] == note
        return True
    assert (answer.status_code, answer.json()["code"]) == (412, "stale"), answer.content
    return False


def _content(policy: Policy) -> dict[str, Any]:
    assert policy.head is not None
    document = policy.head.document()
    return {field: document[field] for field in draft() if field in document}
