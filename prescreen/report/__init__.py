"""Report: one HTML file about a run, a study or an experiment, and the data of figures."""
