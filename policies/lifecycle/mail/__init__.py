"""What people are told by e-mail: written down with what it tells of, sent afterwards."""
