"""The Enrichment: a finding comes in; its severity, and the fields that are added to the event of a vulnerability, go
out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfwebhooks.enrichment.cves import cves_in
from sfwebhooks.severity import DEFAULT_SEVERITIES, Severities

if TYPE_CHECKING:
    from sfwebhooks.enrichment.data_file import DataFile, Logger
    from sfwebhooks.enrichment.epss import Scores
    from sfwebhooks.enrichment.kev import Catalogue


class Enrichment:
    """What the operator's settings say of severities, and his files of CVEs. Never raises.

    Args:
        kev_file: the catalogue of known exploited vulnerabilities; None: there is none.
        epss_file: the scores of how likely a CVE is to be exploited; None: there are none.
        severities: of the types of findings.
    """

    def __init__(
        self,
        kev_file: Path | None = None,
        epss_file: Path | None = None,
        severities: Severities = DEFAULT_SEVERITIES,
    ) -> None:
        #: of the types of findings
        self.severities = severities
        self._kev: DataFile[Catalogue] | None = None
        self._epss: DataFile[Scores] | None = None
        if kev_file or epss_file:  # most scans have none, and start without what reads them
            from sfwebhooks.enrichment.data_file import DataFile
            from sfwebhooks.enrichment.epss import EPSS
            from sfwebhooks.enrichment.kev import KEV

            self._kev = DataFile(KEV, kev_file) if kev_file else None
            self._epss = DataFile(EPSS, epss_file) if epss_file else None
        #: whether there is any file
        self.is_set = bool(kev_file or epss_file)
        #: whether a finding can be of a higher severity because of its CVE
        self.raises = kev_file is not None

    @property
    def files(self) -> list[DataFile[Any]]:
        """The files of the settings."""
        return [file for file in (self._kev, self._epss) if file]

    def report_to(self, log: Logger) -> None:
        """Log trouble with the files there."""
        for file in self.files:
            file.log = log

    def of(self, text: str) -> dict[str, Any]:
        """Return the fields for a finding with these data; of several CVEs the worst is said in each field."""
        cves = cves_in(text)
        if not cves:
            return {}
        scores = self._epss.data() if self._epss else None
        found = [score for cve in cves if (score := scores.of(cve))] if scores else []
        worst = max(found, key=lambda score: score.probability, default=None)
        return {
            **self._exploited(cves),
            **({"epss_score": worst.probability} if worst else {}),
            **({"epss_percentile": worst.percentile} if worst and worst.percentile is not None else {}),
        }

    def is_exploited(self, text: str) -> bool:
        """Return whether a CVE of a finding with these data is known to be exploited."""
        return bool(self._exploited(cves_in(text)))

    def _exploited(self, cves: list[str]) -> dict[str, Any]:
        catalogue = self._kev.data() if self._kev and cves else None
        due = [catalogue.due_dates[cve] for cve in cves if cve in catalogue.due_dates] if catalogue else []
        dates = sorted(filter(None, due))
        return {**({"known_exploited": True} if due else {}), **({"kev_due_date": dates[0]} if dates else {})}


#: of settings without such files
NO_ENRICHMENT = Enrichment()
