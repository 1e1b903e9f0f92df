"""BroadWorks: OCI-P over TCP and SOAP, the Xsi profile, and the accounts of its messaging server."""

from sandbox.broadworks.party import Broadworks

__all__ = ["Broadworks"]
