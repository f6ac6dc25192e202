"""ECCNOMA-v0: split inference over multi-cell NOMA."""
