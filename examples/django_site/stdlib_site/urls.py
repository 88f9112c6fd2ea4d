"""The pages."""

from complexity import views
from django.urls import path

urlpatterns = [
    path("", views.page, name="page"),
    path("start", views.start, name="start"),
    path("surveys.json", views.surveys, name="surveys"),
]
