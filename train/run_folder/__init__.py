"""What a run folder holds: its record, weights, metrics, and the state a killed training goes on from."""
