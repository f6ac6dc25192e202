"""Error handling of commands, atomic files and optional dependencies."""
