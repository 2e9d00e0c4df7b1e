"""From downloads and recordings to data that can be trained on, and proof of it."""
