"""Exceptions for one caller, for a time."""
