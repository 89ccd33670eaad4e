"""The joint of the two layers: expressions, monoids, groups and tiles, declared once and run in both engines."""
