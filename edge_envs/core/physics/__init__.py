"""Physics shared by the papers: units, radio channels, layer tables of networks, images."""
