import pytest

from soundloom.untrusted.limits import read_limited


def test_the_read_limit_is_enforced(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than the limit of 4 bytes"):
        read_limited(path, 4)
