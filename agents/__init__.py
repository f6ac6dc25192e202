"""What learns on the environments; not part of the wheel."""
