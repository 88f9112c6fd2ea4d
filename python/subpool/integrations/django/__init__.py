"""Django tasks in interpreters."""
