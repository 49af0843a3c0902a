"""The named search spaces. A space is made by a function; ``SPACES`` says which and what it is."""
