"""The shop simulator: a seeded shop whose visitors have tastes, for history and for live traffic."""
