"""Would the tests notice? `python -m tests.mutants` changes the engine in one place at a time and runs the tests that
execute that place."""
