"""
What has to hold before anything is served or worked on.

Django runs its system checks for management commands only: a web server that imports `config.asgi` or `config.wsgi`
would start with any master key, or with the wrong one, and fail call by call.
"""

from __future__ import annotations

import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from config import https
from config.private_files import database_file, keep_private
from config.schema_state import NO_TABLES, missing_migrations, unknown_migrations
from config.sentinels import WRONG_DIGEST_KEY, digest_key_fits
from organizations import clock
from organizations.database_rights import missing_rights
from organizations.tenancy import EVERY, refuse_role_above_the_wall, scope
from providers.custody import system_checks
from providers.custody.inspection import look_at_stored_keys, master_keys_open_something

logger = logging.getLogger(__name__)
LOOKED_AT_BY_A_WEB_SERVER = 10_000  # keys, in less than a second; a worker tries all there are
NEW_OBJECTS = 10_000  # that are not gone at once, until cycles among them are looked for
THIS_COMPUTER = ("localhost", "127.0.0.1", "::1")
DEMO_FOR_OTHERS = (
    "KEYFARE_DEMO is on, which opens the staff admin without a second step and verifies no e-mail address, but "
    "SITE_URL is not on this computer. Take KEYFARE_DEMO out of the environment; only `make demo` sets it, for itself."
)
WRONG_MASTER_KEY = (
    "KEYFARE_MASTER_KEYS opens none of the organization keys and second factors in this database. Set it to the keys "
    "that this installation had before (they are in the backup of its env file); new ones cannot open what older ones "
    "sealed. If they are lost for good: `manage.py forget_unreadable_keys --yes`; organizations then paste their keys "
    "again, and people set up their second step again."
)


def refuse_unsafe_start(*, serves_pages: bool = True) -> None:
    """
    End this process with a sentence if its secrets are missing or weak, or do not fit its database, or if that lacks
    tables of this version.

    A database that cannot be reached stops nothing; one of a newer version, and what pages lack, is warned of.
    """
    # An ASGI server imports its application inside an event loop, where Django allows no queries.
    with ThreadPoolExecutor(1) as outside:
        found = outside.submit(_before_start, LOOKED_AT_BY_A_WEB_SERVER if serves_pages else None).result()
    if found:
        raise SystemExit("Keyfare does not start. " + "\n".join(found))
    if serves_pages:
        _warn_of_what_pages_lack()


def set_aside_what_is_loaded() -> None:
    """
    Once all is loaded, before the first fork: the garbage collector need not walk through the 130,000 objects and more
    that stay anyhow. A request is then not held up by that, and what workers share with their parent stays shared,
    which a collection in each of them would copy. Of what a request makes next to nothing is in cycles, so it is looked
    for less often than Python would: 700 objects are a few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def _before_start(keys_looked_at: int | None) -> list[str]:
    keep_private()
    found = _bad_settings() or _missing_rights() or _wrong_schema() or problems()
    if not found:
        _warn_of_the_clock()
        _look_at_stored_keys(keys_looked_at)
    return found


@scope(EVERY, "looks at the whole installation before anything is served")
def problems() -> list[str]:
    """Sentences that say why nothing may be served or worked on. Closes the connection of its thread."""
    return _bad_settings() or [*_wrong_master_key(), *_wrong_digest_key(), *_role_above_the_wall()]


def _bad_settings() -> list[str]:
    try:
        failed = (*system_checks.master_keys(), *system_checks.digest_key(), *system_checks.egress_proxy())
        return [*_demo_for_others(), *(f"{check.msg} {check.hint}" for check in failed)]
    except ImproperlyConfigured as error:
        return [f"{error} `manage.py init` makes one."]


def _missing_rights() -> list[str]:
    if connection.vendor != "postgresql":  # a look at SQLite would make the file
        return []
    try:
        return missing_rights()
    except DatabaseError as error:
        logger.warning("The database did not answer, so rights were not looked at: %s", error)
        return []
    finally:
        connection.close()


def _demo_for_others() -> list[str]:
    host = urlsplit(settings.SITE_URL).hostname
    return [DEMO_FOR_OTHERS] if settings.KEYFARE_DEMO and host not in THIS_COMPUTER else []


def _wrong_schema() -> list[str]:
    path = database_file()
    if path is None and connection.vendor == "sqlite":
        return []  # in memory, so nobody else has made tables there
    if path is not None and not path.exists():  # a connection would make it
        return [NO_TABLES]
    try:
        unknown, missing = unknown_migrations(), missing_migrations()
    except DatabaseError as error:
        logger.warning("The database did not answer, so its tables were not looked at: %s", error)
        return []
    finally:
        connection.close()
    if unknown:
        logger.warning(unknown)
    return [missing] if missing else []


def _wrong_digest_key() -> list[str]:
    try:
        return [] if digest_key_fits() else [WRONG_DIGEST_KEY]
    except DatabaseError as error:
        logger.warning("The database did not answer, so KEYFARE_DIGEST_KEY was not tried: %s", error)
        return []
    finally:
        connection.close()


def _warn_of_what_pages_lack() -> None:
    for warning in (https.start_warning(), static_files_warning()):
        if warning:
            logger.warning(warning)


def static_files_warning() -> str | None:
    """A sentence if the pages' styles and scripts were not collected: every page would end in an error."""
    if getattr(staticfiles_storage, "hashed_files", True):
        return None
    return "Static files were not collected, so no page can be made: `manage.py collectstatic --noinput`, then restart."


def _warn_of_the_clock() -> None:
    try:
        warning = clock.clock_warning()
        if warning:
            logger.warning(warning)
    except DatabaseError as error:
        logger.warning("The database did not answer, so its clock was not read: %s", error)
    finally:
        connection.close()


@scope(EVERY, "tries the keys of everybody, so that pages and calls know which do not open")
def _look_at_stored_keys(at_most: int | None) -> None:
    try:
        if broken := look_at_stored_keys(at_most=at_most):
            logger.warning(
                "Provider keys that do not open, and show as Needs re-entry: %d. `manage.py check_secrets` names them.",
                broken,
            )
    except DatabaseError as error:
        logger.warning("The database did not answer, so the stored provider keys were not tried: %s", error)
    finally:
        connection.close()


def _role_above_the_wall() -> list[str]:
    try:
        refuse_role_above_the_wall()
    except ImproperlyConfigured as error:
        return [str(error)]
    except DatabaseError as error:
        logger.warning("The database did not answer, so its role was not looked at: %s", error)
    finally:
        connection.close()
    return []


def _wrong_master_key() -> list[str]:
    try:
        return [] if master_keys_open_something() else [WRONG_MASTER_KEY]
    except DatabaseError as error:
        logger.warning("The database did not answer, so the master keys were not tried: %s", error)
        return []
    finally:
        connection.close()
