"""The verbs: whatever changes what is live, who may do what, or what a policy says.

Each is one transaction in five beats: lock, refuse or return early, save, append the audit event, announce at commit.
"""
