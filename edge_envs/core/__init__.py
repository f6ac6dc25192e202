"""What all wings share; knows no paper."""
