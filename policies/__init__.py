"""The control plane: policies, their history, their releases, and the doors to them."""
