"""From files on disk to a committed index. Knows nothing of queries."""
