"""What runs inside a machine: `init` is its first process, `smoke` asks the questions in `checks`.

Only the standard library, pyuring, and the two modules of clients that the other tests have.
"""
