"""The programs that run, test and check the project. dev.py needs only the standard library."""
