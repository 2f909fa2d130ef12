import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_asgi_application()

from config.startup import refuse_unsafe_start  # noqa: E402  # needs the apps, which the line above loads

refuse_unsafe_start()
