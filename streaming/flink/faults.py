"""A fault on request, so that the sink's failure path is proved with the real thing."""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ConfigError


class InjectedFault(RuntimeError):
    """Raised on request in the middle of a batch of writes."""


@dataclass
class Fault:
    """Raise ``times`` times in all, at random batches (one of ``every`` on average), in the middle of the batch.

    The count is kept as files in ``folder``, since whatever a worker holds is lost with it.
    """

    folder: str
    seed: int
    times: int
    every: int
    _random: random.Random | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """A fault from ``folder=DIR,seed=7,times=3,every=20``; raises ConfigError where it is not that."""
        try:
            parts = dict(pair.split("=", 1) for pair in text.split(","))
            return cls(parts["folder"], int(parts["seed"]), int(parts["times"]), int(parts["every"]))
        except (KeyError, ValueError) as error:
            raise ConfigError("--fault takes folder=DIR,seed=7,times=3,every=20") from error

    def cut(self, size: int) -> int | None:
        """How many of ``size`` writes to make before raising; None: this batch goes through."""
        if self._random is None:
            # the process id differs after a restart: the same batch must not fail for ever
            self._random = random.Random(self.seed * 1_000_003 + os.getpid())
        if size < 2 or self._random.randrange(self.every):
            return None
        for number in range(self.times):
            try:
                (Path(self.folder) / f"fault-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return self._random.randrange(1, size)
        return None
