"""MLflow: the runs of training and tuning, and the registry whose alias says which model is live.

A training's version is registered once; promoting it moves the alias ``champion`` to it. Each promotion is numbered, so
that what was live at an earlier cut, and before a rollback, is known.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.embedding import Manifest
from common.errors import ConfigError, IncompleteInput
from jobs.spark.models import model_named, models_folder, newest_model

EXPERIMENT = "als"
MODEL = "dovetail-als"
CHAMPION = "champion"
NONE = "none"
"""The tracking URI of those who keep no track: then the newest model is the live one."""


def tracking_uri(lake: str, given: str) -> str:
    """The URI to track at: what is given, or a sqlite database in the lake's folder."""
    return given or f"sqlite:///{models_folder(lake).parent / 'mlflow.db'}"


def open_tracking(lake: str, given: str) -> "Tracking | None":
    """Where a job keeps track; None where it was told to keep none."""
    if given == NONE:
        return None
    return Tracking(tracking_uri(lake, given), models_folder(lake).parent / "mlflow")


def live_model(lake: str, tracking: "Tracking | None", cut_ms: int) -> tuple[Path, Manifest]:
    """The model that lists for a cut are made with: the champion, or the newest where no track is kept.

    Raises IncompleteInput where there is none.
    """
    if tracking is None:
        return newest_model(lake, cut_ms)
    return model_named(lake, tracking.champion(cut_ms).model_version)


@dataclass(frozen=True)
class Registered:
    """A registered model version."""

    number: str
    """Its number in the registry."""
    model_version: str
    cut_ms: int
    verdict: str
    """Why it was promoted or not; rolled back, where it was."""
    promotion: int
    """Which promotion made it live; 0 where none did, or it was taken back."""
    live: bool


class Tracking:
    """MLflow at one URI. What is there already is found, not made again."""

    def __init__(self, uri: str, artifacts: Path | None = None) -> None:
        """``artifacts`` is the folder that a new experiment in a database of ours keeps files in."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient  # takes seconds to import

        self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._uri = uri
        self._artifacts = artifacts

    # Runs

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        own = self._artifacts is not None and self._uri.startswith("sqlite:")
        return str(
            self._client.create_experiment(EXPERIMENT, self._artifacts.as_uri() if own and self._artifacts else None)
        )

    def runs(self, **tags: str) -> dict[str, str]:
        """Name to id of the runs that carry these tags."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment()], wanted, page_token=token)
            found.update({run.info.run_name: run.info.run_id for run in page})
            token = page.token
            if not token:
                return found

    def log(
        self,
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        parent: str | None = None,
        folder: Path | None = None,
    ) -> str:
        """Keep a run under its name, and the files of a folder as its artefact; returns its id.

        A run of that name and those tags is completed, not doubled.
        """
        from mlflow.entities import Metric, Param

        before = self.runs(**tags)
        if name in before:
            run_id = before[name]
        else:
            nested = {"mlflow.parentRunId": parent} if parent else {}
            made = self._client.create_run(self._experiment(), tags={**tags, **nested}, run_name=name)
            run_id = str(made.info.run_id)
        at = 0  # the step: a metric logged again replaces nothing, it is the same
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), 0, at) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in parameters.items()],
        )
        if folder is not None:
            self._client.log_artifacts(run_id, str(folder), artifact_path="model")
        self._client.set_terminated(run_id)
        return run_id

    # The registry

    def versions(self) -> list[Registered]:
        """All registered versions, newest first."""
        try:
            live = self._client.get_registered_model(MODEL).aliases.get(CHAMPION)
        except _mlflow_error() as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return []
        found = [
            Registered(
                number=str(version.version),
                model_version=version.tags["model_version"],
                cut_ms=int(version.tags["cut_ms"]),
                verdict=version.tags.get("verdict", ""),
                promotion=int(version.tags.get("promotion", "0")),
                live=str(version.version) == str(live),
            )
            for version in self._client.search_model_versions(f"name = '{MODEL}'", max_results=1_000)
        ]
        return sorted(found, key=lambda v: -int(v.number))

    def register(self, model_version: str, cut_ms: int, folder: Path, run_id: str) -> Registered:
        """Register a trained model once."""
        for known in self.versions():
            if known.model_version == model_version:
                return known
        try:
            self._client.create_registered_model(MODEL)
        except _mlflow_error() as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {"model_version": model_version, "cut_ms": str(cut_ms)}
        made = self._client.create_model_version(MODEL, folder.as_uri(), run_id, tags=tags)
        return Registered(str(made.version), model_version, cut_ms, "", 0, False)

    def decide(self, model_version: str, verdict: str, promote: bool) -> Registered:
        """Make a version live where it is to be, and keep the verdict on it; raises ConfigError where it is unknown.

        The verdict comes last: a version that has one needs nothing more, and a run that was killed before is taken up.
        """
        versions = self.versions()
        chosen = next((v for v in versions if v.model_version == model_version), None)
        if chosen is None:
            known = ", ".join(v.model_version for v in versions[:5]) or "none"
            raise ConfigError(f"there is no model {model_version!r}; the newest are: {known}")
        if promote and not chosen.live:
            last = max(v.promotion for v in versions)
            if not last or chosen.promotion < last:  # else a run that was killed has numbered it
                self._client.set_model_version_tag(MODEL, chosen.number, "promotion", str(last + 1))
            self._client.set_registered_model_alias(MODEL, CHAMPION, chosen.number)
        self._client.set_model_version_tag(MODEL, chosen.number, "verdict", verdict)
        return next(v for v in self.versions() if v.number == chosen.number)

    def rollback(self) -> Registered:
        """Make the version that was live before the live one live again; raises ConfigError where there is none.

        The alias comes last: one that was killed before goes on where it was, and does not go back twice.
        """
        versions = self.versions()
        live = next((v for v in versions if v.live), None)
        if live is None:
            raise ConfigError("no model is live: there is nothing to go back from")
        # Live without a number is one whose rollback was killed.
        before = [
            v for v in versions if v.promotion and not v.live and (v.promotion < live.promotion or not live.promotion)
        ]
        if not before:
            raise ConfigError("no model was live before this one: there is nothing to go back to")
        target = max(before, key=lambda v: v.promotion)
        self._client.set_model_version_tag(MODEL, live.number, "verdict", "rolled back")
        self._client.set_model_version_tag(MODEL, live.number, "promotion", "0")
        self._client.set_registered_model_alias(MODEL, CHAMPION, target.number)
        return next(v for v in self.versions() if v.number == target.number)

    def champion(self, cut_ms: int) -> Registered:
        """The live version; where that was trained after ``cut_ms``, the last promoted one that was not.

        Raises IncompleteInput where there is none.
        """
        versions = self.versions()
        fit = [v for v in versions if v.cut_ms <= cut_ms and (v.live or v.promotion)]
        if not fit:
            held = [v for v in versions if v.cut_ms <= cut_ms]
            why = (
                f"the newest, {held[0].model_version}, was held back: {held[0].verdict}" if held else "none is trained"
            )
            raise IncompleteInput(
                f"no model is live up to the cut; {why}. Run train_als, or: dovetail models promote VERSION"
            )
        return max(fit, key=lambda v: (v.live, v.promotion))


def _mlflow_error() -> Any:
    from mlflow.exceptions import MlflowException

    return MlflowException
