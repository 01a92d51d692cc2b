"""The site of examples/django on a free port, which runs Python that a test sends it.

Reads lines of JSON, {"code": "..."}: runs the code, and answers with a line of JSON, {"result": ...}: what the
code has put into `result`. The environment says what differs from the settings of the example: OVERRIDES.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler

SITE = Path(__file__).resolve().parent.parent.parent / "examples" / "django"
sys.path.insert(0, str(SITE))
sys.dont_write_bytecode = True

from chatsite import settings as example  # noqa: E402
from django.conf import settings  # noqa: E402

options = {name: getattr(example, name) for name in dir(example) if name.isupper()}
options.update(json.loads(os.environ.get("OVERRIDES", "{}")))
settings.configure(**options)

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.servers.basehttp import ThreadedWSGIServer  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


call_command("migrate", run_syncdb=True, verbosity=0)
server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
server.set_app(get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"LISTENING http://127.0.0.1:{server.server_port}", flush=True)

scope = {}
exec(
    """
from datetime import timedelta
from importlib import import_module
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core import signing
from django.test import Client
from django.utils import timezone
from chatsite.models import Message
User = get_user_model()
""",
    scope,
)
for line in sys.stdin:
    scope["result"] = None
    try:
        exec(json.loads(line)["code"], scope)
        answer = {"result": scope["result"]}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
