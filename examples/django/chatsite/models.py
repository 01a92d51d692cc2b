from django.db import models


class Message(models.Model):
    author = models.CharField(max_length=150)
    text = models.CharField(max_length=500)
    pinned = models.BooleanField(default=False)
