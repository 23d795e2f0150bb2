"""The two commands, as a person or a job types them."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from policies.lifecycle.documenting import final_notes
from policies.lifecycle.editing import policies
from policies.models import Policy, Release
from tests.files.hands import counts, entries, entry, file
from tests.files.test_asking import put_live
from tests.policies.factories import Catalogue, change, endpoint, make_policy, person


def run(name: str, *arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


def names(text: str) -> list[str]:
    return [told["name"] for told in entries(text)]


def test_a_final_note_names_the_file_that_a_change_came_from(catalogue: Catalogue, tmp_path: Path) -> None:
    make_policy()
    path = tmp_path / "reports.yaml"
    path.write_text(run("export_policies").replace("limit: 10\n", "limit: 20\n"))
    run("import_policies", str(path), "--reason", "as agreed", "--release", "production")
    release = Release.objects.get()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"Imported: reports.yaml sha256:{digest}, by command:" in final_notes.draft(release)


@pytest.fixture
def there(catalogue: Catalogue, tmp_path: Path) -> Path:
    """The file of a console with one policy."""
    make_policy()
    path = tmp_path / "reports.yaml"
    path.write_text(run("export_policies"))
    return path


def test_an_export_is_chosen_by_service_policy_and_environment(catalogue: Catalogue) -> None:
    one = make_policy(name="one", endpoints=[endpoint("/one")])
    make_policy(name="two", endpoints=[endpoint("/two")])
    shop = make_policy(name="three", service="shop")
    put_live(one, catalogue.production)
    change(one, rollback_note="newer than what is live")
    assert names(run("export_policies")) == ["one", "two", "three"]
    assert names(run("export_policies", "--service", "shop")) == ["three"]
    assert names(run("export_policies", "--policy", one.reference, "--policy", shop.reference)) == ["one", "three"]
    [live] = entries(run("export_policies", "--environment", "production"))
    assert (live["name"], live["revision"]) == ("one", 1) and "newer" not in live["rollback_note"]
    assert names(run("export_policies", "--environment", "staging")) == []
    assert "reference" not in run("export_policies", "--portable").split("policies:")[1]


def test_an_export_goes_into_a_file_once_all_of_it_is_there(there: Path) -> None:
    path = there.parent / "again.yaml"
    assert run("export_policies", "--output", str(path)) == ""
    assert path.read_bytes() == there.read_bytes()
    with pytest.raises(CommandError, match="cannot be written"):
        run("export_policies", "--output", str(there.parent / "none" / "x.yaml"))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--service", "nowhere", "There is no service “nowhere”"),
        ("--policy", "POL-9999", "There is no policy POL-9999"),
        ("--environment", "nowhere", "There is no environment nowhere"),
        ("--by", "nobody", "There is no account"),
    ],
)
def test_an_export_of_what_is_not_there(catalogue: Catalogue, option: str, value: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run("export_policies", option, value)


def test_a_dry_run_shows_the_difference_and_writes_nothing(there: Path) -> None:
    there.write_text(there.read_text().replace("limit: 10\n", "limit: 20\n"))
    before = counts()
    told = run("import_policies", str(there), "--dry-run")
    assert counts() == before
    reference = Policy.objects.get().reference
    assert told.splitlines()[0] == f"{reference} reports/report-export would be changed:"
    assert "  -     Limit: 10 calls" in told and "  +     Limit: 20 calls" in told
    assert told.endswith("This was a dry run: nothing was written.\n")


def test_an_import_tells_what_it_did_and_what_it_left_alone(there: Path) -> None:
    reference = Policy.objects.get().reference
    person("alice", "add_policy")
    there.write_bytes(file(entry("new", "/new")))
    told = run("import_policies", str(there), "--reason", "more of it", "--by", "alice")
    new = Policy.objects.get(name="new")
    assert told.startswith(f"{new.reference} reports/new was created:\n  + name: new\n")
    assert f"Not in the file, left as it is: {reference} reports/report-export." in told
    assert (policies.newest(new).author, policies.newest(new).reason) == ("alice", "more of it")
    assert "As the file says already: 1." in run("import_policies", str(there), "--reason", "again")


def test_an_import_needs_a_reason(there: Path) -> None:
    with pytest.raises(CommandError, match="reason: Say why"):
        run("import_policies", str(there))


def test_what_is_wrong_is_told_by_line(there: Path) -> None:
    there.write_text(there.read_text().replace("limit: 10\n", "limit: ten\n"))
    before = counts()
    for options in (["--dry-run"], ["--reason", "x"]):
        with pytest.raises(CommandError, match=r"policies\.0\.rules\.0\.limit: Line \d+: Must be a whole number"):
            run("import_policies", str(there), *options)
    assert counts() == before
    there.write_text("policies:\n\t- name: x\n")
    with pytest.raises(CommandError, match=r"yaml: Line 2: .*indent with blanks"):
        run("import_policies", str(there), "--dry-run")


def test_a_file_comes_from_stdin(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file(entry("new", "/new")))))
    assert "was created" in run("import_policies", "-", "--reason", "piped")


def test_a_file_that_is_not_there(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be read: No such file"):
        run("import_policies", str(tmp_path / "none.yaml"), "--dry-run")
    with pytest.raises(CommandError, match="cannot be read"):
        run("import_policies", str(tmp_path), "--dry-run")


def test_an_import_may_ask_for_releases(there: Path) -> None:
    told = run("import_policies", str(there), "--dry-run", "--release", "staging", "--mode", "enforce")
    reference = Policy.objects.get().reference
    assert f"{reference}: would ask. r1, mode enforce for 100 %; nothing of it is live in staging." in told
    told = run("import_policies", str(there), "--reason", "go", "--release", "staging", "--mode", "enforce")
    assert f"{reference}: live. r1 is live in staging, mode enforce." in told
    assert Release.objects.get().mode == "enforce"
    assert "Live or asked for in staging already: 1." in run(
        "import_policies", str(there), "--reason", "go", "--release", "staging"
    )
    there.write_bytes(file(entry("new", "/new")))
    assert "new reports/new: would ask." in run("import_policies", str(there), "--dry-run", "--release", "staging")


def test_a_refused_release_fails_the_command_after_the_import(there: Path, catalogue: Catalogue) -> None:
    catalogue.staging.frozen = True
    catalogue.staging.save()
    there.write_bytes(file(entry("new", "/new")))
    with pytest.raises(CommandError, match=r"Saved, but not released in staging: POL-\d+\."):
        run("import_policies", str(there), "--reason", "go", "--release", "staging")
    assert Policy.objects.filter(name="new").exists() and not Release.objects.exists()


def test_a_mode_without_a_place(there: Path) -> None:
    with pytest.raises(CommandError, match="name an environment"):
        run("import_policies", str(there), "--reason", "go", "--mode", "enforce")
