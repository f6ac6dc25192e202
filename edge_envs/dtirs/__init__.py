"""`DTIRS-v0`: IRS-assisted split learning with digital twins."""
