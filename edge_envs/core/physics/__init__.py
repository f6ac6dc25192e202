"""Physics that several papers share: units, radio channels, layer tables of networks, images."""
