"""Several GraphQL requests in one body, where ``requests.max_batch`` allows it; off by default."""

from collections.abc import Callable, Sequence

from pcf.http.protocol import GraphQLRequest, GraphQLResponse
from pcf.metrics import OUTCOMES
from pcf.timeouts import TimeoutContext

Answer = Callable[[GraphQLRequest, TimeoutContext], GraphQLResponse]


def answer_batch(
    answer: Answer, requests: Sequence[GraphQLRequest], timeout: TimeoutContext
) -> GraphQLResponse:
    """The answers to ``requests`` in one JSON array, in their order, all within ``timeout``.

    They are answered one after the other, each as if it had come alone, so a failure of one is
    nothing to the others. The status is 200 whatever the parts say.
    """
    # the bytes of the parts are joined, so none is compressed
    answers = [answer(request._replace(coding=""), timeout) for request in requests]
    body = b"[" + b",".join(each.body for each in answers) + b"]"
    worst = max((each.outcome for each in answers), key=OUTCOMES.index, default=OUTCOMES[0])
    headers = {"Cache-Status": "pcf; fwd=bypass; detail=batch"}
    return GraphQLResponse(body, headers=headers, outcome=worst)
