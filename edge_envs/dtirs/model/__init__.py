"""The compiled step of one world."""
