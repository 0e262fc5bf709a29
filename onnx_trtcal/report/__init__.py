"""What is said of a calibration: its summary, warnings, and the flags that would mend it."""
