"""The schema of the oddities, and the service that answers with it."""

from functools import cache

import graphene
from django.core import signing
from odd.models import Member
from odd.schema import NODES, OddQuery

from pcf.http.service import GraphQLService, make_service
from pcf.viewer import Credentials, Scope, Viewer


class Query(OddQuery):
    """Everything that can be asked."""


schema = graphene.Schema(query=Query, types=NODES)


def token_for(member: Member) -> str:
    """Return a token that stands for ``member``."""
    return signing.dumps(str(member.pk))


def find_credentials(text: str) -> Credentials | None:
    """Return the credentials behind a token."""
    try:
        member = Member.objects.get(pk=signing.loads(text), is_active=True)
    except (signing.BadSignature, Member.DoesNotExist):
        return None
    viewer = Viewer.from_token(member.pk, Scope.WRITE, staff=False)
    return Credentials(viewer, None, (("account", member.pk),))


def find_viewers(member_id: object) -> list[Viewer]:
    """Return the viewer that is the member."""
    return [Viewer.from_token(member.pk, Scope.WRITE, staff=False)
            for member in Member.objects.filter(pk=member_id)]  # fmt: skip


@cache
def graphql_service() -> GraphQLService:
    """Return the process's service."""
    return make_service(schema, find_credentials, find_viewers)
