"""Code shared by all papers: the System interface, the Gymnasium classes, kernels and physics."""
