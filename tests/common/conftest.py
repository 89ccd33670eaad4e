"""How hypothesis runs here: by number of examples, not by the clock of a machine that also runs engines."""

from hypothesis import HealthCheck, settings

settings.register_profile("dovetail", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("dovetail")
