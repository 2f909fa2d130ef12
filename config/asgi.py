import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402  # needs the line above, like all that follows

from config.metrics import with_metrics  # noqa: E402
from config.startup import refuse_unsafe_start, set_aside_what_is_loaded  # noqa: E402
from config.web.application import application as web_application  # noqa: E402
from config.web.pool import share_connections  # noqa: E402
from gateway.door.application import Door, in_front_of  # noqa: E402
from gateway.snapshots import open_snapshots  # noqa: E402

pages = web_application(connections=settings.KEYFARE_WEB_CONNECTIONS)
door = Door(open_snapshots)
application = with_metrics(in_front_of(pages, door), door)
refuse_unsafe_start()
share_connections(settings.KEYFARE_WEB_CONNECTIONS)
set_aside_what_is_loaded()
