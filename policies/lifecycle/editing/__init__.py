"""What a policy says: its content, each save of it, and what differs between two."""
