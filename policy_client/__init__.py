"""What a service installs to have the policies of its Policy Console enforced.

    from policy_client import PolicyClient, protect

    @protect("reports.export")
    async def export(report_id: int): ...

Importing this package needs nothing but the standard library.
"""

from policy_client.call import Call, Identity
from policy_client.client import PolicyClient
from policy_client.deadline import time_left
from policy_client.decision import Decision
from policy_client.default import install
from policy_client.denied import PolicyDenied
from policy_client.errors import Misconfigured, PolicyError
from policy_client.options import Options
from policy_client.protect import protect
from policy_client.version import __version__

__all__ = [
    "Call",
    "Decision",
    "Identity",
    "Misconfigured",
    "Options",
    "PolicyClient",
    "PolicyDenied",
    "PolicyError",
    "__version__",
    "install",
    "protect",
    "time_left",
]
