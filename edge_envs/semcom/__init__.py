"""Training of image semantic communication: compression per device, resources solved inside the step."""
