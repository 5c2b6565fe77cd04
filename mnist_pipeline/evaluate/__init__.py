"""How good a model is: metrics, the gate's judgement, the report."""
