"""Policies as text that people keep in a repository: YAML out and in. It knows values, neither rows nor verbs."""
