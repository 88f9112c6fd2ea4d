"""The site whose tasks bench/django_tasks.py measures."""
