"""What clients may sort and filter users by."""

from pcf.pagination.filter_types import DateTimeFilter, IDFilter, StringFilter
from pcf.pagination.filters import FilterSet
from pcf.pagination.orders import Order, OrderSet, Term
from users.models import User

USER_ORDERS = OrderSet(
    "User",
    {
        "NAME": Order("name_folded", "By name, without regard to case and accents."),
        "CREATED_AT": Order("created_at", "By the time at which the account was made."),
    },
    default=(Term("CREATED_AT", descending=True),),
)

USER_FILTERS = FilterSet(
    "User",
    User,
    {
        "id": IDFilter("pk", "The id of the user.", columns=()),
        "name": StringFilter("name_folded", "The name, without regard to case and accents."),
        "created_at": DateTimeFilter("created_at", "When the account was made."),
    },
)
