"""The neural codec from which the image-quality law was fitted; run with `python -m edge_envs.semcom.jscc`."""
