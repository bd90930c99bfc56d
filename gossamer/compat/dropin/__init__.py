"""Which names of other libraries a code base uses, and whether their facades have them."""

from gossamer.compat.dropin.findings import Finding, Report, Status
from gossamer.compat.dropin.scan import scan

__all__ = ["Finding", "Report", "Status", "scan"]
