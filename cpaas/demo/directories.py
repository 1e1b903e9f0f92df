"""The demo's directories: where the names of those come from who text its users."""

from __future__ import annotations

from cpaas.demo.cast import PROVIDERS, demo_id
from cpaas.demo.tenants import Tenants
from portal.directory.models import Directory
from portal.directory.services.directories import create_directory
from portal.directory.services.importing import import_contacts
from portal.models import SystemProvider

_PLACE = 15
_CONTACTS = """\
key,kind,name,company,number,type,url
1,lead,Mr. James Merced (Sample),Merced Holdings,+17036089795,mobile,https://crm.example/leads/1
2,contact,Sabeeh,Kessler & Boyd clients,+12403219795,mobile,https://crm.example/contacts/2
3,contact,Patrick Mobile,Court reporters,+12055550140,mobile,https://crm.example/contacts/3
3,contact,Patrick Mobile,Court reporters,+12055550141,work,https://crm.example/contacts/3
4,account,Engines Ltd,,+12125550138,work,https://crm.example/accounts/4
"""


def load_directories(tenants: Tenants) -> None:
    """A CRM directory for the users of the first provider; one that is there stays as it is."""
    provider = PROVIDERS[0]
    if Directory.objects.filter(pk=demo_id(_PLACE)).exists():
        return
    staff = tenants.accounts[provider.accounts[0].place]
    directory = create_directory(
        actor=staff,
        id=demo_id(_PLACE),
        system_provider=SystemProvider.objects.get(pk=demo_id(provider.place)),
        kind="crm",
        name="Zoho CRM",
    )
    import_contacts(actor=staff, directory=directory, content=_CONTACTS.encode())
