"""People: users and the tokens they call the API with."""
