"""The papers' claims and the rules that judge them."""
