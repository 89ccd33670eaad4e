"""The demo: the whole loop on real engines, played and checked."""
