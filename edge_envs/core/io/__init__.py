"""Common parts of all commands: argument parsing, error handling, atomic files and optional dependencies."""
