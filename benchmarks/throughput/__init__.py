"""How many candidates a minute, and images a second."""
