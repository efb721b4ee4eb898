"""Settings: one typed place for every knob. ``base`` holds what all environments share."""
