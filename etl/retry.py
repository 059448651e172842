"""Structures that were too large for a source model, under a limit that has been raised since."""

import re
from collections.abc import Iterable

from featurestore.tables.log import Shard
from zoo.backbones.base import Backbone

_CODE = "too_large"
# as backbones say it: 4,200,000 angles, allowed are 4,000,000 angles (extract.backbones.alignn.max_angles)
_SAID = re.compile(r"([\d,]+) \w+[,;] allowed are [\d,]+ ?\w* \(extract\.backbones\.\w+\.(\w+)\)$")


def within_limits(shards: Iterable[Shard], extraction: str, backbone: Backbone) -> set[str]:
    """Return the structures that an extraction rejected as too large, and that its limits allow now.

    Each reject says how large its structure is and which setting did not allow it. What did not fit into
    memory names no setting, and stays rejected.
    """
    return {
        reject.entry_id
        for shard in shards
        if shard.provenance.get("extraction_id") == extraction
        for reject in shard.rejects
        if reject.code == _CODE and _fits(reject.message, backbone)
    }


def _fits(message: str, backbone: Backbone) -> bool:
    found = _SAID.search(message)
    limit = None if found is None else getattr(backbone.settings, found[2], None)
    return found is not None and isinstance(limit, int) and int(found[1].replace(",", "")) <= limit
