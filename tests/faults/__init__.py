"""Faults on the real kernel: what injects them, and the tests that watch what pyuring does.

The tests are slow or need root: a smoke version of each runs among the others, the whole with
`nox -s faults`. What they change of the machine ends with the process that changed it.
"""
