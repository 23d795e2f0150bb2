"""What the limits of a bundle would have done to the calls of an access log."""

from policy_client.replay.engine import replay
from policy_client.replay.files import open_log
from policy_client.replay.report import NotReplayed, Report, RuleReport

__all__ = ["NotReplayed", "Report", "RuleReport", "open_log", "replay"]
