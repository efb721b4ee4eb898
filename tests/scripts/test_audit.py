"""The audit of dependencies sees what it is there to see."""

import pytest

from scripts.audit import complaints

A, B = "a" * 64, "b" * 64
GOOD = f"""one==1.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via -r requirements.in
Two_Words==2.0 ; python_version < '3' \\
    --hash=sha256:{A}
"""


def test_good_files_have_nothing_to_complain_of():
    assert not list(complaints(GOOD, GOOD, {"one": "1.0", "pip": "9"}))
    assert not list(complaints(GOOD, GOOD, {"one": "1.0", "two-words": "2.0"}))


@pytest.mark.parametrize(
    ("service", "development", "installed", "said"),
    [
        (GOOD, "one==1.0\n", {"one": "1.0"}, "one has no hash"),
        (GOOD, GOOD, {}, "one is not installed"),
        (GOOD, GOOD, {"one": "1.1"}, "one: 1.0 is pinned, 1.1 is installed"),
        (GOOD, GOOD, {"one": "1.0", "evil": "6"}, "evil is installed but not pinned"),
        (GOOD.replace("1.0", "1.1"), GOOD, {"one": "1.0"}, "one: requirements.txt and"),
        (GOOD, GOOD + "three>=1\n", {"one": "1.0"}, "not a pinned version: three>=1"),
        (GOOD, GOOD + "https://x/y.whl\n", {"one": "1.0"}, "not a pinned version: https://x/"),
        (GOOD, GOOD + "--index-url https://x\n", {"one": "1.0"}, "not a pinned version: --index"),
    ],
)
def test_what_is_wrong_is_said(service, development, installed, said):
    assert any(line.startswith(said) for line in complaints(service, development, installed))
