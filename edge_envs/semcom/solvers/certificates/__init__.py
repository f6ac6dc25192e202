"""Lower bounds from dual functions, for any prices, and the gaps to them."""
