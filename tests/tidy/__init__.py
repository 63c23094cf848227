"""The house rules as functions: each takes a tree and returns its problems as sentences.

They read source text and never import it, so that tests/test_tidy.py can hand them a tiny
bad tree and see them complain. The rules' tables (layers, exceptions) live beside the checks.
"""
