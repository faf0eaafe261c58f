from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import path, re_path

from djangosite import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.index),
    path("gate", views.gate),
    path("upload", views.upload),
    path("upload-form", views.upload_form),
    path("stream", views.stream),
    path("download", views.download),
    path("facts", views.facts),
    path("fails", views.fails),
    path("stream-fails", views.stream_fails),
    re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}),
]
