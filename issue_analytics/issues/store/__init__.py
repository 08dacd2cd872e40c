"""The store of issues: an SQLite file, or a PostgreSQL database. Nothing here loads SQLAlchemy before one is opened."""

from issue_analytics.issues.store.store import LABELS, Issue, Store, open_store
from issue_analytics.issues.store.values import Groups

__all__ = ["LABELS", "Groups", "Issue", "Store", "open_store"]
