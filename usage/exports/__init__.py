"""
What leaves as a file: the calls themselves (calls.py), what they cost in the words of finance (focus.py), and months
that are closed for good (sealing.py). docs/exports.md says what each means.
"""
