"""The doors of the gateway alone, for a server of their own: `uvicorn config.gateway:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from config.metrics import with_metrics  # noqa: E402  # needs the line above, like all that follows
from config.startup import refuse_unsafe_start, set_aside_what_is_loaded  # noqa: E402
from gateway.door.application import Door, alone  # noqa: E402
from gateway.snapshots import open_snapshots  # noqa: E402

refuse_unsafe_start()
door = Door(open_snapshots)
application = with_metrics(alone(door), door)
set_aside_what_is_loaded()
