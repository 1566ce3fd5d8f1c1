"""How search grows: each kind of structure against the exact scan, from ten thousand to ten million vectors."""
