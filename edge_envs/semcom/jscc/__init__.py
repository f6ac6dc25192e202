"""The neural codec behind the law of image quality; run with `python -m`."""
