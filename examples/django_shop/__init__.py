"""A Django service with one view worth protecting."""
