"""The app, for servers that want it by name. The import makes it, and sets up Django."""

from subpool.integrations.django.serving import make

application = make()
