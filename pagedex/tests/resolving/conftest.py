# The fixture is a small repository with tests of its own, which is read and not run.
collect_ignore = ["fixture"]
