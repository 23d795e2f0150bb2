"""From rows to the bytes that services fetch."""
