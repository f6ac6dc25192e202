"""What every command needs: error handling, atomic files and optional dependencies."""
