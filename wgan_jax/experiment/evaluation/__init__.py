"""Numbers about a run's generator and critic: what is drawn, what is measured, how it is said."""
