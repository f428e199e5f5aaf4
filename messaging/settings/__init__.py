"""Every setting, once, typed; and how its text is read."""
