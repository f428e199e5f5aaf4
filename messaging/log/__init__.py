"""What goes into the log and leaves it: appends in batches, the intake, retention."""
