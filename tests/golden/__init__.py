"""Golden SQEs: what liburing's own builders write, to compare ours with byte for byte."""
