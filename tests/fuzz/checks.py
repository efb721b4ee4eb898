"""What schemathesis looks at in each answer; loaded by it (``SCHEMATHESIS_HOOKS``)."""

import schemathesis

OURS = {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"}


@schemathesis.check
def graphql_answer(ctx, response, case):
    """An answer in GraphQL's form, none of whose errors is the service's own doing.

    Half of what is generated is wrong on purpose; refusing it is an answer.
    """
    assert response.status_code < 500, response.text
    answer = response.json()
    codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
    assert not codes & OURS, answer
    assert "data" in answer or codes, answer
    assert response.headers.get("x-request-id")
