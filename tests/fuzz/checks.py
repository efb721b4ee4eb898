"""The check of each answer, which schemathesis loads (``SCHEMATHESIS_HOOKS``)."""

import schemathesis

SERVICE_CODES = {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"}


@schemathesis.check
def graphql_answer(ctx, response, case):
    """Check that the answer is a GraphQL response without an error of the service itself.

    Half of the generated requests are wrong on purpose, so a refusal is a good answer.
    """
    assert response.status_code < 500, response.text
    answer = response.json()
    codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
    assert not codes & SERVICE_CODES, answer
    assert "data" in answer or codes, answer
    assert response.headers.get("x-request-id")
