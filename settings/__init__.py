"""Settings of this project; ``base`` holds what all environments share."""
