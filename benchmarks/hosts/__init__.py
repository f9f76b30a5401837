"""What Optuna and Ray add, and what they cost."""
