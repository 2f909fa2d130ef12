"""The doors of the gateway alone, for a server of their own: `uvicorn config.gateway:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from config.startup import refuse_unsafe_start, set_aside_what_is_loaded  # noqa: E402  # needs the line above, like all that follows
from gateway.door.application import Door, alone  # noqa: E402
from gateway.snapshots import open_snapshots  # noqa: E402

refuse_unsafe_start()
application = alone(Door(open_snapshots))
set_aside_what_is_loaded()
