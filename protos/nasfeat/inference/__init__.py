"""The Open Inference Protocol: for the server alone, since clients have generated code of their own for it."""
