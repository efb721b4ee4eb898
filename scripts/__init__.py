"""What starts, tests and checks the project on a developer's machine. Standard library only."""
