"""Plan requests and execute the plans: the models of both families, and the stages that they share."""
