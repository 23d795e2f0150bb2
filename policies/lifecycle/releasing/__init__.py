"""Putting a revision live and taking it back: its terms, its gates, its steps, and the way back."""
