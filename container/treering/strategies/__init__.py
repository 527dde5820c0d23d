"""Two looser ways to train than histograms of all rows: ranks boost alone, and rank 0 averages what they grew.

``strategy=ensemble`` averages once, at the end; ``strategy=parameter_server`` every few rounds, and each rank goes
on from the average. In both, ranks differ only in their rows: bins and base score are those of all rows.
"""
