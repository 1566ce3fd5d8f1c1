"""One command a file: its options, one call, one rendering."""
