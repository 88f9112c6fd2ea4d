"""A site that measures the standard library, one survey a task."""
