"""What can be read of policies and their changes: handbook, final notes, stories, and how well a policy is written."""
