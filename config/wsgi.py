import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from django.conf import settings  # noqa: E402  # needs the apps, which the line above loads

from config.startup import refuse_unsafe_start, set_aside_what_is_loaded  # noqa: E402
from config.web.pool import share_connections  # noqa: E402

refuse_unsafe_start()
share_connections(settings.KEYFARE_WEB_CONNECTIONS)
set_aside_what_is_loaded()
