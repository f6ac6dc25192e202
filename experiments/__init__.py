"""Reproductions: every published table of this project, from one command."""
