"""Split training of a real network between devices and an access point; run with `python -m`."""
