"""The admin: the door for people. Its pages are registered by `policies.admin.rooms`, once the site exists.

Nothing is imported here: the site itself lives in this package, and registering asks for it.
"""
