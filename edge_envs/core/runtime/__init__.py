"""Parts of the Gymnasium classes: episode summaries, snapshots, invariant checking and rendering."""
