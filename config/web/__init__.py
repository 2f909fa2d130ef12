"""
What stands between the web server and Django: `config/asgi.py` puts the layers together, outermost first.

    bodies   refuses what is too large or arrives too slowly, before it is kept anywhere
    rooms    lets so many requests into Django at once; more wait a little, then read that Keyfare is busy
    django   one thread a request, on connections of the process's pool

`bodies`, `rooms` and `refusals` are plain ASGI: they import nothing of Django and go around any application.
"""
