"""When are two rows one person: what is compared, how much each agreement weighs, what a person's row says.

Pure: numpy and rapidfuzz, no engine. The Spark side is jobs/resolve_customers.py.
"""
