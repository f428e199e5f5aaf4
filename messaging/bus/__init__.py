"""What carries notices between processes: the contract, and a module for each bus."""
