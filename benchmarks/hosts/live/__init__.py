"""Studies of users' own scripts: what pruning saves, and what it loses."""
