"""subpool behind the interfaces of other packages, one module each; some need an extra."""
