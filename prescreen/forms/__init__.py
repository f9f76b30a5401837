"""Forms: what a network computes, as a graph that is written the same way for equal networks."""
