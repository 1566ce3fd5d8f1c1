"""The index behind HTTP, a web page and MCP: read only, from the newest generation, for the user's own programs."""
