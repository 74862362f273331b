"""A trained agent evaluated, and looked into: its levels, its promises, what if."""
