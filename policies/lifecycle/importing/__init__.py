"""Taking over a file of policies: read with the line of every fault, compared with what is there, saved in one act."""

from policies.lifecycle.importing.asking import Answer, Asked, ask_for_releases, foresee_releases
from policies.lifecycle.importing.changes import Change, LeftOut, Outcome
from policies.lifecycle.importing.saving import Imported, import_policies, preview

__all__ = [
    "Answer",
    "Asked",
    "Change",
    "Imported",
    "LeftOut",
    "Outcome",
    "ask_for_releases",
    "foresee_releases",
    "import_policies",
    "preview",
]
