"""The part of a ledger's calls that is about models: their versions, and which of them is in use."""

from __future__ import annotations

from typing import Any

from optaic.bootstrap import Runtime


class Staging:
    """What `optaic.connect()` returns can say of models."""

    runtime: Runtime

    def stage(self, model: str, version: int, stage: str) -> bool:
        """Give a version of a model a stage, or take its stage back.

        Parameters
        ----------
        model, version
            The model, and the number of one of its versions.
        stage
            `candidate`, `champion`, `archived`, or `none`: it has no stage then. A model has at most one champion; the
            one before is archived.

        Returns
        -------
        bool
            False if it has the stage already, or none to take back.

        Raises
        ------
        NotFoundError
            If there is no such model or version.
        InvalidInputError
            If it is no model, or there is no such stage.
        """
        from optaic.lifecycle.stage import stage as set_stage

        return set_stage(self.runtime.database, model, version, stage)

    def models(self, model: str) -> list[dict[str, Any]]:
        """List the versions of a model, newest first.

        Returns
        -------
        list of dict
            `model, version, stage` (null without one), `staged_at`, `run_id`, `fits` (their number), `label_end` of the
            last one, `content_digest` and `created_at`; instants and dates are ISO text.

        Raises
        ------
        NotFoundError
            If there is no such model.
        InvalidInputError
            If it is no model.
        """
        from optaic.ledger import stages, versions
        from optaic.lifecycle.stage import find_model

        with self.runtime.database.read() as tx:
            flow = find_model(tx, model)
            rows = versions.of_flow(tx, flow.id)
            staged = {one.version_id: one for one in stages.staged_versions(tx, flow.id)}
        return [
            {
                "model": flow.instance,
                "version": row.number,
                "stage": staged[row.id].stage.value if row.id in staged else None,
                "staged_at": _iso(staged[row.id].set_at) if row.id in staged else None,
                "run_id": str(row.run_id),
                "fits": len(_detail(row).get("fits", ())),
                "label_end": row.last_data_date.isoformat() if row.last_data_date else None,
                "content_digest": row.content_digest,
                "created_at": _iso(row.created_at),
            }
            for row in rows
        ]


def _detail(row: Any) -> dict[str, Any]:
    return row.detail or {}


def _iso(instant: Any) -> str:
    return instant.isoformat().replace("+00:00", "Z")
