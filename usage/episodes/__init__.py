"""
Anomalies as they are kept: what the judges of usage/anomalies are given to read, and what becomes of what they say.

An episode is opened once, seen again for as long as it lasts, and over when nothing of it was found for three days. One
that somebody declared expected stays as it is, and is not raised again within what was declared.
"""
