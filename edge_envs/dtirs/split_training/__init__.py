"""Split training of a network between devices and an access point; `python -m edge_envs.dtirs.split_training`."""
