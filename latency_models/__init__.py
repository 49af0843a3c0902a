"""How long a network takes on a device: measured, and predicted with an error."""
