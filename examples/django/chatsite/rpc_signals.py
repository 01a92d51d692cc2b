"""Tells the RPC server about logins, logouts and changed accounts, so that open connections follow."""

import logging
import urllib.request

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core import signing
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver

User = get_user_model()


def tell(**change):
    request = urllib.request.Request(
        settings.RPC_URL,
        b'{"jsonrpc":"2.0","method":"django_changed","id":1}',
        {
            "Content-Type": "application/json",
            "Authorization": "Django " + signing.dumps(change, salt="x-jsonrpc.changed"),
        },
    )
    try:
        urllib.request.urlopen(request, timeout=2).close()
    except OSError as error:
        logging.getLogger(__name__).warning("The RPC server was not told: %s", error)


def tell_after_commit(**change):
    transaction.on_commit(lambda: tell(**change))


@receiver(user_logged_in)
def logged_in(request, user, **_):
    # The cookie is still that of the session before.
    tell_after_commit(user=str(user.pk), session=request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))


@receiver(user_logged_out)
def logged_out(request, **_):
    # Django sends this signal before it deletes the session.
    tell(ended=request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))


@receiver([post_save, post_delete], sender=User)
def account_changed(instance, update_fields=None, **_):
    if update_fields != frozenset(["last_login"]):  # set by each login
        tell_after_commit(user=str(instance.pk))


@receiver(m2m_changed, sender=User.groups.through)
@receiver(m2m_changed, sender=User.user_permissions.through)
@receiver(m2m_changed, sender=Group.permissions.through)
def permissions_changed(instance, action, **_):
    if not action.startswith("post_"):
        return
    if isinstance(instance, User):
        tell_after_commit(user=str(instance.pk))
    else:
        tell_after_commit()  # a group: this may concern everybody


@receiver(post_delete, sender=Group)
@receiver(post_delete, sender=Permission)
def permissions_deleted(**_):
    tell_after_commit()  # Django sends no m2m_changed for the rows that go with it
