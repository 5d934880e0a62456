"""Library of the Tutti Nano training pipeline; the commands lie one folder up."""
