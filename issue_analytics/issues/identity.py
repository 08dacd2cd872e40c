"""Which group a fingerprint stands for, and how identifiers are written."""

import hashlib
import re
from typing import Final

__all__ = ["fingerprint_hash", "plain_id", "stable_group_id"]

_HASH: Final = re.compile(r"[0-9a-f]{32}")


def plain_id(value: str) -> str:
    """Return a UUID, dashed or not, as 32 lower-case hex characters; any other text as it is.

    >>> plain_id("6A7BC3EE-3C4F-4F6C-9B51-5F1C28D7A6C1"), plain_id("app-17")
    ('6a7bc3ee3c4f4f6c9b515f1c28d7a6c1', 'app-17')
    """
    digits = value.replace("-", "").lower()
    return digits if _HASH.fullmatch(digits) else value


def fingerprint_hash(part: str) -> str:
    """Return a fingerprint's part as the tracker stores it: the hex of its MD5; a part that is one stays.

    >>> fingerprint_hash("ab"), fingerprint_hash("187ef4436122d1cc2f40dc2b92f0eba0")
    ('187ef4436122d1cc2f40dc2b92f0eba0', '187ef4436122d1cc2f40dc2b92f0eba0')
    """
    if _HASH.fullmatch(part):
        return part
    # surrogatepass: a part need not be well-formed text to have an identity
    return hashlib.md5(part.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def stable_group_id(project_id: int, fingerprint: str) -> int:
    """Return the id of the group that a project's fingerprint stands for: 63 bits, the same on every machine.

    Only the first part of a fingerprint picks the group. The tracker stores parts as md5 hex, while topics carry them
    as written, so a part that is not yet 32 lower-case hex characters is hashed first: both forms give one id. The
    group type takes no part: status changes carry none, and upstream's own key is project and hash.

    >>> stable_group_id(1, "ab") == stable_group_id(1, "187ef4436122d1cc2f40dc2b92f0eba0")
    True
    >>> stable_group_id(1, "ab") == stable_group_id(2, "ab")
    False
    """
    digest = hashlib.blake2b(f"{project_id}:{fingerprint_hash(fingerprint)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
