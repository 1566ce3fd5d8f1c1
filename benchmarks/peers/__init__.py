"""Other search libraries, each a small program in an environment of its own (.venv-peers). Nothing imports them."""
