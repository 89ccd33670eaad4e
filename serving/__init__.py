"""Serving: merges batch and speed views of a visitor into one explained answer, and collects events."""
