"""What both layers must agree on: contracts, admission, features, sessions, fold-in, merge. Imports no engine."""
