"""What every room stands on: errors, settings, structures, files, progress."""
